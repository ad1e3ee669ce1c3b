"""Notifications: events, one module for each channel, and their delivery."""
