"""Decisions: from job files and cursors to the script that decides each occurrence once."""
