"""The ``kuber-cron`` command: arguments, tables, confirmation and exit statuses over :mod:`kuber_cron.control`."""
