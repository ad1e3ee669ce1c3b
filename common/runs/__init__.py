"""Runs: ids, the signed payload, retries, cursors, manual requests. Pure."""
