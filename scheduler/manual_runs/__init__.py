"""Manual runs: what operators ask the leader for."""
