"""The JSON documents of all commands as one page and one schema, made from the records that they are.

``python -m kuber_cron.cli.reference.json_page page`` prints docs/json.md, ``… schema`` docs/json.schema.json.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from kuber_cron.control import documents
from kuber_cron.control.actions import results
from kuber_cron.control.queries import quarantine
from kuber_cron.control.queries import results as views

DOCUMENTS: Mapping[str, tuple[type, ...]] = {
    "status": (views.StatusView,),
    "jobs": (views.JobsView,),
    "runs": (views.RunsView,),
    "show": (views.RunView,),
    "logs": (views.LogView,),
    "why": (views.WhyView,),
    "queues": (views.QueuesView,),
    "workers": (views.WorkersView,),
    "quarantine": (quarantine.QuarantineView, results.RetriedRun, results.DroppedRun),
    "trigger": (results.TriggerResult,),
    "stop": (results.StoppedRun, results.StoppedRuns),
    "retry": (results.RetriedRun,),
    "pause": (results.PauseState,),
    "resume": (results.PauseState,),
    "backfill": (results.BackfillResult,),
}
"""Which records each command may answer with: `stop --job`, `quarantine release` and `drop` have their own."""

_HEAD = """# JSON

What the commands that look and act answer with `--format json`: one document on standard output, whatever happens; with an
error it is `{"version":1,"error":{"code","message","hint"}}`, and the exit status is 1, or 2 for a call that has no
meaning. The documents of `check`, `next`, `convert`, `exec` and `import` are in [cli.md](cli.md).

**Stable**: an attribute that stands here keeps its name and its meaning as long as `version` is 1. New ones may come, so
a program should not mind those that it does not know. Every attribute is always there; what is not known is `null`.
Instants are ISO 8601 in UTC with `Z`, some with a fraction of a second; lengths of time are seconds, sizes bytes.

[json.schema.json](json.schema.json) is the same as a JSON Schema: the document of `kuber-cron show` is `#/$defs/show`.

This page is made from the code: `python -m kuber_cron.cli.reference.json_page page > docs/json.md`.
"""

CODES = {
    "usage": "the command was called in a way that has no meaning (exit status 2)",
    "bad-settings": "no address of Redis, or a variable is bad",
    "redis-unreachable": "Redis does not answer",
    "redis-refused": "Redis answers, and does not let us: credentials, rights, memory, a read-only replica",
    "unknown-job": "there is no such job",
    "unknown-run": "there is no such run, or no record of it any more",
    "ambiguous-run": "several runs begin so",
    "no-such-attempt": "the run has no such attempt, or has written nothing yet",
    "no-leader": "no scheduler leads, so what was asked for is withdrawn",
    "no-answer": "a scheduler has begun to decide it and not answered in time",
    "overlap": "the job's runs may not overlap, and one has not ended",
    "suspended": "the job is paused or suspended",
    "no-instants": "the span has no instant of the job's schedule",
    "too-many": "the span has more instants than `--max`, or the chain more jobs than it may",
    "unsigned-variables": "variables need the scheduler's signing key",
    "bad-variable": "no such variable can be given to a command",
    "request-too-large": "the request is larger than 64 KiB",
    "request-expired": "the request came too late",
    "bad-request": "the scheduler cannot read the request",
    "newer-request": "the scheduler is older than the command that asks",
    "put-aside": "what was found under the run's name is no run",
    "refused": "the leader, or Redis, has refused it",
    "run-over": "the run has ended already",
    "run-live": "the run has not ended yet",
    "run-succeeded": "the run has succeeded, and was not to be run again all the same",
    "run-gone": "the run was deleted while it was waited for",
    "not-ours": "the run belongs to no job of Kuber-Cron's",
    "unconfirmed": "what cannot be undone was not confirmed",
    "internal": "a defect of Kuber-Cron",
}


def page() -> str:
    """The whole of docs/json.md."""
    parts = [_HEAD, "\n## Codes of errors\n\n| code | |\n| --- | --- |\n"]
    parts += [f"| `{code}` | {meaning} |\n" for code, meaning in CODES.items()]
    for command, kinds in DOCUMENTS.items():
        parts.append(f"\n## {command}\n")
        for kind in kinds:
            parts.append(f"\n{_first_line(kind)}\n\n{_table(documents.document_schema(kind))}")
    named = documents.definitions(kind for kinds in DOCUMENTS.values() for kind in kinds)
    parts.append("\n## Records\n")
    for name, schema in named.items():
        parts.append(f"\n### {name}\n\n{_table(schema)}")
    return "".join(parts)


def schema() -> dict[str, Any]:
    """The whole of docs/json.schema.json."""
    found: dict[str, Any] = {}
    for command, kinds in DOCUMENTS.items():
        schemas = [documents.document_schema(kind) for kind in kinds]
        found[command] = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    named = documents.definitions(kind for kinds in DOCUMENTS.values() for kind in kinds)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What kuber-cron answers with --format json",
        "$defs": {**found, **named},
    }


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0].replace("``", "`")


def _table(schema: Mapping[str, Any]) -> str:
    rows = ["| | | |", "| --- | --- | --- |"]
    for name, said in schema["properties"].items():
        rows.append(
            f"| `{name}` | {_type(said)} | {said.get('description', '').replace('|', chr(92) + '|')} |"
        )
    return "\n".join(rows) + "\n"


def _type(said: Mapping[str, Any]) -> str:
    if "const" in said:
        return f"`{json.dumps(said['const'])}`"
    if "enum" in said:
        return ", ".join(f"`{json.dumps(word)}`" for word in said["enum"])
    if "anyOf" in said:
        return " or ".join(_type(each) for each in said["anyOf"])
    if "$ref" in said:
        name = said["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if said["type"] == "array":
        inner = said.get("prefixItems")
        return (
            f"list of {_type(said['items'])}"
            if inner is None
            else f"[{', '.join(_type(each) for each in inner)}]"
        )
    return {
        "string": "instant" if "format" in said else "text",
        "integer": "number",
        "boolean": "true, false",
    }.get(said["type"], str(said["type"]))


def main(words: list[str]) -> None:
    """Print the page, or the schema."""
    if words == ["schema"]:
        json.dump(schema(), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main(sys.argv[1:])
