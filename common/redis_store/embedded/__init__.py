"""A Redis or Valkey server of our own, for one machine."""
