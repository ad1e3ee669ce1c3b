"""Everything of a worker that speaks to Redis or RQ."""
