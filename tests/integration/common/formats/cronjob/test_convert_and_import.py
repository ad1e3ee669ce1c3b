"""A real API server takes what `convert --to kubernetes` writes, strictly, and gives back what `import` makes the same jobs of."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from tests.support.any_jobs import job_lists
from tests.support.real_cluster import Cluster

from kuber_cron.common.formats import crontab
from kuber_cron.common.formats.cronjob import exporter, importer, schedule_dialect
from kuber_cron.common.formats.cronjob.importer import ImportOptions
from kuber_cron.common.jobs.job import Job

pytestmark = pytest.mark.cluster
pytest_plugins = ["tests.support.real_cluster_fixture"]

VECTORS = Path(__file__).parents[4] / "vectors"
CRONTABS = sorted((VECTORS / "crontabs").glob("*.crontab"))
SCHEDULES = [json.loads(line) for line in (VECTORS / "kubernetes_schedules.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


def tried(cluster, namespace, manifest):
    """What the API server says of an object that it does not keep: status and the object with all defaults."""
    path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs?dryRun=All&fieldValidation=Strict"
    return cluster.ask("POST", path, manifest)


def bare(jobs):
    return [replace(job, source="", line=0) for job in jobs]


def comes_back(cluster, namespace, jobs):
    text = exporter.write(jobs, image="app:1").text
    objects = []
    for manifest in yaml.safe_load_all(text):
        status, said = tried(cluster, namespace, manifest)
        assert status == 201, said
        objects.append(said)
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    report = importer.import_cronjobs([("live", json.dumps(listed).encode())], ImportOptions())
    written = [
        replace(job, schedule=schedule_dialect.read(schedule).schedule)
        for job in jobs
        if (schedule := schedule_dialect.written(job)) is not None
    ]
    assert bare(report.jobs) == bare(written)
    # Nothing is said of what the API server filled in.
    assert {each.code for each in report.diagnostics} <= {
        "KC601",
        "KC604",
        "KC605",
        "KC607",
        "KC608",
        "KC617",
    }


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job_lists())
def test_any_jobs_are_taken_by_the_server_and_come_back_from_it(cluster, namespace, jobs):
    comes_back(cluster, namespace, [replace(job, after=[]) for job in jobs])


@pytest.mark.parametrize("path", CRONTABS, ids=lambda path: path.stem)
def test_a_crontab_is_taken_by_the_server_and_comes_back_from_it(cluster, namespace, path):
    jobs = crontab.parse(path.read_bytes(), path.name, "etc" in path.name).jobs
    left_out = {job.id for job in jobs if schedule_dialect.written(job) is None}
    comes_back(cluster, namespace, [job for job in jobs if not left_out & set(job.after)])


@pytest.mark.parametrize("vector", SCHEDULES, ids=lambda vector: vector["schedule"])
def test_the_server_takes_the_schedules_that_the_vectors_say_it_takes(cluster, namespace, vector):
    (manifest,) = yaml.safe_load_all(exporter.write([Job(id="a", schedule="@daily", command="x")]).text)
    manifest["spec"]["schedule"] = vector["schedule"]
    is_taken = "error" not in vector and "TZ=" not in vector["schedule"]
    assert (tried(cluster, namespace, manifest)[0] == 201) is is_taken
