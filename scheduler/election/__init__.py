"""Elections: who leads, in which term, behind which fence."""
