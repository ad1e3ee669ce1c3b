"""The words of a command line: instants, job files, the way to Redis, completions."""
