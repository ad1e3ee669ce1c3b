"""Everything of a worker that touches processes; knows no Redis."""
