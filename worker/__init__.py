"""The worker tier: claims queued runs, executes their commands, reports how they ended."""
