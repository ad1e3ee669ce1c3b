"""The scheduler tier: which occurrences are due, decided once each and queued."""
