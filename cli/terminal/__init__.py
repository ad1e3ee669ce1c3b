"""The terminal: tables, the live view, errors."""
