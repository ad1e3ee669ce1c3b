"""``python -m kuber_cron``: the same as the ``kuber-cron`` command."""

from kuber_cron.cli.app import main

if __name__ == "__main__":
    main()
