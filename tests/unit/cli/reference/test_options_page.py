"""The shipped schema and the manual's table are what the table of policies says."""

import json
from pathlib import Path

from kuber_cron.cli.reference import options_page

ROOT = Path(__file__).parents[4]


def test_the_shipped_schema_is_the_models():
    assert (ROOT / "common" / "formats" / "jobfile.schema.json").read_text() == options_page.schema_text()


def test_the_manual_holds_the_table_of_keys():
    assert options_page.table() in (ROOT / "docs" / "job-files.md").read_text()


def test_the_schema_is_closed_and_knows_kubernetes_spellings():
    job = json.loads(options_page.schema_text())["properties"]["jobs"]["items"]
    assert job["additionalProperties"] is False
    assert {"retries", "timeZone", "concurrencyPolicy", "stdin"} <= set(job["properties"])
