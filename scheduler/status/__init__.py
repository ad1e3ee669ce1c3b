"""Status: what a scheduler publishes of itself and of its jobs."""
