"""Maintenance: lost attempts, due retries, claims of dead workers, what the metrics show."""
