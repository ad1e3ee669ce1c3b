"""What both tiers know: schedules, job files, runs, and the way to Redis."""
