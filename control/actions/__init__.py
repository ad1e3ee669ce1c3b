"""The write side: what operators do."""
