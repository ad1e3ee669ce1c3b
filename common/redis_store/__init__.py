"""Redis: connections, keys, scripts, the check of a server, and a server for one machine."""
