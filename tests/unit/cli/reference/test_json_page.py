"""docs/json.md and docs/json.schema.json are what the code says, and documents are held to them."""

import importlib
import json
import pkgutil
from datetime import UTC, datetime
from pathlib import Path

from tests.support.json_schema import document_faults

from kuber_cron import cli, common, control
from kuber_cron.cli import app
from kuber_cron.cli.reference import json_page
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.records import processes
from kuber_cron.common.records.run import RunRecord
from kuber_cron.control import documents
from kuber_cron.control.queries import results

DOCS = Path(__file__).parents[4] / "docs"
AT = datetime(2026, 3, 1, tzinfo=UTC)
ELSEWHERE = frozenset(
    # Of commands that read files or are a tier, and of what stays within the tiers.
    [
        "error",
        "no-jobs",
        "no-cronjobs",
        "input-has-errors",
        "unwritable",
        "no-such-file",
        "inexpressible",
        "unreachable",
        "unusable-address",
        "bad-schedule",
        "bad-payload",
        "embedded-redis",
        "port-in-use",
        "fenced",
        "term-over",
        "state-lost",
    ]
)


def test_the_page_and_the_schema_are_made_from_the_code():
    assert (DOCS / "json.md").read_text() == json_page.page()
    assert json.loads((DOCS / "json.schema.json").read_text()) == json_page.schema()


def test_each_command_of_the_page_exists():
    assert json_page.DOCUMENTS.keys() <= {command.name for command in app.COMMANDS}


def test_each_attribute_has_a_description():
    named = json_page.definitions(kind for kinds in json_page.DOCUMENTS.values() for kind in kinds)
    documents_of = [
        json_page.document_schema(kind) for kinds in json_page.DOCUMENTS.values() for kind in kinds
    ]
    for schema in [*named.values(), *documents_of]:
        for name, said in schema["properties"].items():
            assert name == "version" or said.get("description"), (name, schema)


def test_each_error_code_has_its_meaning():
    for package in (cli, common, control):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, waiting = set(), [KuberCronError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith(("kuber_cron.cli.", "kuber_cron.common.", "kuber_cron.control.")):
            found.add(kind.code)
    assert found - json_page.CODES.keys() - ELSEWHERE == set()


def test_a_document_that_lacks_or_adds_an_attribute_is_found_out():
    view = results.RunsView(now=AT, runs=(RunRecord(run="a", job="a", state="queued"),), has_more=False)
    document = json.loads(json.dumps(documents.document(view)))
    assert document_faults("runs", document) == []
    del document["runs"][0]["job"]
    document["runs"][0]["mood"] = "good"
    document["runs"][0]["state"] = "sleepy"
    assert document_faults("runs", document) == [
        "runs.runs[0].job is missing",
        "runs.runs[0].state: 'sleepy' is none of ['queued', 'held', 'running', 'waiting', 'ended']",
        "runs.runs[0].mood is unknown",
    ]


def test_an_instant_without_an_offset_or_a_wrong_type_is_found_out():
    entry = processes.SchedulerInfo(holder="a", seen_at=AT)
    told = json.loads(json.dumps(documents.plain(entry)))
    assert document_faults("SchedulerInfo", told) == []
    assert document_faults("SchedulerInfo", {**told, "seen_at": "2026-03-01T00:00:00"})
    assert document_faults("SchedulerInfo", {**told, "jobs": True})
    assert document_faults("SchedulerInfo", {**told, "late_seconds": "1"})
