"""What a person typed: instants, job files, the way to Redis, completions."""
