"""The ground of both tiers and of control: schedules, job files, runs, and the way to Redis."""
