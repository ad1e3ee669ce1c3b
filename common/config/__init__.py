"""Settings, lease timing, and facts about the host."""
