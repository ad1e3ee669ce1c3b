"""A job, the table of its options, their types, and job ids. Pure."""

from kuber_cron.common.jobs.job import Job, Parsed

__all__ = ["Job", "Parsed"]
