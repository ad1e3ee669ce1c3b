"""The ``kuber-cron`` command: arguments and environment become settings, settings become wiring."""
