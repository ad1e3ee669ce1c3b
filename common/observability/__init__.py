"""Logs, metrics, health, and the HTTP server that shows them."""
