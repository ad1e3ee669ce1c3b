"""Elections: who leads, in which term, and whether the fence still stands."""
