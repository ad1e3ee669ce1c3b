"""The public name of the reader of YAML job files (docs/architecture.md, Public seams)."""

from kuber_cron.common.formats.yaml_jobs import parse

__all__ = ["parse"]
