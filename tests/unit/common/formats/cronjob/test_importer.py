"""CronJobs become jobs: what each field becomes, and what is said of what it does not."""

import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.support.any_jobs import job_lists

from kuber_cron.common.formats import crontab, yaml_jobs
from kuber_cron.common.formats.cronjob import exporter, importer, schedule_dialect
from kuber_cron.common.formats.cronjob.importer import ImportOptions
from kuber_cron.common.formats.cronjob.pod_reader import ContainerChoice
from kuber_cron.common.jobs.job import Job
from kuber_cron.worker.execution.environment import working_directory

# A CronJob of which nothing is said but its image.
PLAIN = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "backup"},
    "spec": {
        "schedule": "30 2 * * *",
        "timeZone": "UTC",
        "jobTemplate": {
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "main", "image": "app:1", "command": ["make", "backup"]}],
                    }
                },
            }
        },
    },
}


def cronjob(**changes):
    """PLAIN with values by path: ``spec__schedule``; ``job__``, ``pod__``, ``main__`` for the deep ones; None deletes."""
    made = json.loads(json.dumps(PLAIN))
    job = made["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    places = {
        "object": made,
        "metadata": made["metadata"],
        "spec": made["spec"],
        "job": job,
        "pod": pod,
        "main": pod["containers"][0],
    }
    for path, value in changes.items():
        place, _, name = path.partition("__")
        if value is None:
            del places[place][name]
        else:
            places[place][name] = value
    return made


def read(*objects, text=None, **wishes):
    """The report on objects as one stream, in the form in which people write them."""
    content = text if text is not None else yaml.safe_dump_all(objects, sort_keys=False)
    return importer.import_cronjobs([("cronjobs.yaml", content.encode())], ImportOptions(**wishes))


def codes(report):
    return [each.code for each in report.diagnostics if each.code != "KC601"]


def only(report):
    assert [str(each) for each in report.diagnostics if each.severity == "error"] == []
    (job,) = report.jobs
    return job


def bare(jobs):
    return [replace(job, source="", line=0) for job in jobs]


# --- what fields become --------------------------------------------------------------------------


def test_a_plain_cronjob_is_a_job_of_which_nothing_is_said_but_its_image():
    report = read(cronjob())
    assert [str(each) for each in report.diagnostics] == [
        "cronjobs.yaml:16:13: warning[KC601]: backup: image app:1: its workers must have what the image has"
    ]
    assert bare(report.jobs) == bare(
        [
            Job(
                id="backup",
                schedule="30 2 * * *",
                command=["make", "backup"],
                retries=0,
                timeout=None,
                kill_grace=30.0,
            )
        ]
    )
    assert report.text == (
        "version: 1\njobs:\n# CronJob backup, image app:1\n- name: backup\n  schedule: 30 2 * * *\n"
        "  timezone: UTC\n  command:\n  - make\n  - backup\n  timeout: none\n  kill_grace: 30s\n"
    )


@pytest.mark.parametrize(
    ("changes", "attributes", "said"),
    [
        ({"spec__timeZone": "Europe/Berlin"}, {"timezone": "Europe/Berlin"}, []),
        ({"spec__timeZone": None}, {"timezone": "UTC"}, ["KC602"]),
        (
            {"spec__timeZone": None, "spec__schedule": "CRON_TZ=Asia/Tokyo 0 6 * * *"},
            {"timezone": "Asia/Tokyo", "schedule": "0 6 * * *"},
            ["KC607"],
        ),
        ({"spec__schedule": "0 0 */2 * 1"}, {"schedule": "0 0 1-31/2 * 1"}, ["KC607"]),
        ({"spec__schedule": "@every 1h30m"}, {"schedule": "@every 1h30m"}, ["KC608"]),
        ({"spec__concurrencyPolicy": "Allow"}, {"concurrency": "allow"}, []),
        ({"spec__concurrencyPolicy": "Replace"}, {"concurrency": "replace"}, []),
        ({"spec__concurrencyPolicy": "Forbid"}, {"concurrency": "forbid"}, ["KC604"]),
        ({"spec__startingDeadlineSeconds": 200}, {"deadline": 200.0}, []),
        ({"spec__startingDeadlineSeconds": 10**9}, {"deadline": None}, []),
        ({"spec__suspend": False}, {"suspend": False}, []),
        ({"spec__suspend": True}, {"suspend": True}, ["KC605"]),
        ({"job__backoffLimit": 4}, {"retries": 4}, []),
        ({"job__backoffLimit": 2**31 - 1}, {"retries": 999_999_999}, []),
        ({"job__backoffLimit": None}, {"retries": 6}, ["KC603"]),
        ({"job__activeDeadlineSeconds": 600}, {"timeout": 600.0}, ["KC606"]),
        ({"pod__activeDeadlineSeconds": 60}, {"timeout": 60.0}, []),
        ({"pod__activeDeadlineSeconds": 60, "job__activeDeadlineSeconds": 50}, {"timeout": 50.0}, ["KC606"]),
        ({"pod__terminationGracePeriodSeconds": 5}, {"kill_grace": 5.0}, []),
        ({"pod__restartPolicy": "OnFailure"}, {}, ["KC624"]),
        ({"job__parallelism": 1, "job__completions": 1, "job__completionMode": "NonIndexed"}, {}, []),
        ({"main__command": ["make"], "main__args": ["-j", "2"]}, {"command": ["make", "-j", "2"]}, []),
        ({"main__command": ["sh", "-c", "a | b"]}, {"command": "a | b", "shell": "/bin/sh"}, []),
        (
            {"main__command": ["/bin/bash", "-c"], "main__args": ["a\nb\n"]},
            {"command": "a\nb\n", "shell": "/bin/bash"},
            [],
        ),
        ({"main__command": ["sh", "-ec", "a"]}, {"command": ["sh", "-ec", "a"]}, []),
        ({"main__workingDir": "/srv"}, {"cwd": "/srv"}, []),
        (
            {"main__env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$$"}, {"name": "C"}]},
            {"env": {"A": "1", "B": "1$", "C": ""}},
            [],
        ),
        (
            {"main__env": [{"name": "A", "value": "1"}], "main__command": ["x", "$(A) $$(A) $(B)"]},
            {"command": ["x", "1 $(A) $(B)"]},
            [],
        ),
        (
            {"main__env": [{"name": "HOME", "value": "/srv"}], "main__workingDir": "/srv"},
            {"cwd": None, "env": {"HOME": "/srv"}},
            [],
        ),
        ({"metadata__annotations": {"kubernetes.io/description": "why"}}, {"description": "why"}, []),
        ({"metadata__name": "a.b"}, {"id": "a-b"}, ["KC609"]),
        (
            {
                "job__podFailurePolicy": {
                    "rules": [
                        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3, 4]}},
                    ]
                }
            },
            {"no_retry_on": [3, 4]},
            ["KC623"],
        ),
        (
            {
                "job__podFailurePolicy": {
                    "rules": [
                        {"action": "Count", "onExitCodes": {"operator": "In", "values": [1]}},
                        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3, 4]}},
                    ]
                }
            },
            {"no_retry_on": []},
            ["KC623"],
        ),
    ],
    ids=str,
)
def test_a_field_becomes_an_attribute(changes, attributes, said):
    report = read(cronjob(**changes))
    job = only(report)
    assert {name: getattr(job, name) for name in attributes} == attributes
    assert codes(report) == said


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"spec__schedule": None}, "KC502", "spec"),
        ({"spec__schedule": "0 25 * * *"}, "KC503", "spec.schedule"),
        ({"spec__schedule": "@reboot"}, "KC503", "spec.schedule"),
        ({"spec__schedule": 5}, "KC502", "spec.schedule"),
        ({"spec__timeZone": "Europe/Berln"}, "KC504", "spec.timeZone"),
        ({"spec__concurrencyPolicy": "forbid"}, "KC502", "spec.concurrencyPolicy"),
        ({"spec__suspend": "true"}, "KC502", "spec.suspend"),
        ({"spec__startingDeadlineSeconds": -1}, "KC502", "spec.startingDeadlineSeconds"),
        ({"spec__jobTemplate": None}, "KC502", "spec"),
        ({"object__spec": None}, "KC502", None),
        ({"object__metadata": None}, "KC502", None),
        ({"metadata__name": None}, "KC502", "metadata"),
        ({"job__parallelism": 2}, "KC507", "spec.jobTemplate.spec.parallelism"),
        ({"job__completions": 5}, "KC507", "spec.jobTemplate.spec.completions"),
        ({"job__backoffLimit": "3"}, "KC502", "spec.jobTemplate.spec.backoffLimit"),
        ({"pod__containers": []}, "KC502", "spec.jobTemplate.spec.template.spec"),
        ({"main__command": None}, "KC505", "spec.jobTemplate.spec.template.spec.containers[0].image"),
        (
            {"main__command": None, "main__args": ["x"]},
            "KC505",
            "spec.jobTemplate.spec.template.spec.containers[0].args",
        ),
        (
            {"pod__initContainers": [{"name": "first", "image": "b"}]},
            "KC506",
            "spec.jobTemplate.spec.template.spec.initContainers[0]",
        ),
        (
            {"main__env": [{"name": "A", "value": 5}]},
            "KC502",
            "spec.jobTemplate.spec.template.spec.containers[0].env[0].value",
        ),
        ({"main__env": [{"name": "RANDOM_DELAY", "value": "soon"}]}, "KC511", "metadata.name"),
        ({"main__command": ["sh", "-c", " "]}, "KC511", "metadata.name"),
        ({"metadata__annotations": {"kuber-cron/options": "{"}}, "KC510", "metadata.annotations.kuber-cron/options"),
        (
            {"metadata__annotations": {"kuber-cron/options": '{"after": "nobody"}'}},
            "KC511",
            "metadata.name",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_taken_over_is_an_error_at_its_field_and_hides_no_other_cronjob(changes, code, path):
    report = read(cronjob(**changes), cronjob(metadata__name="good"))
    errors = [each for each in report.diagnostics if each.severity == "error"]
    assert [(each.code, each.about) for each in errors] == [(code, path)]
    assert [job.id for job in report.jobs] == ["good"]
    assert report.cronjobs == 2


def test_every_error_of_a_cronjob_is_told_at_once():
    report = read(
        cronjob(spec__schedule="61 * * * *", spec__timeZone="Nowhere", job__parallelism=2, main__command=None)
    )
    assert sorted(codes(report)) == ["KC503", "KC504", "KC505", "KC507"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"spec__successfulJobsHistoryLimit": 10}, "KC618"),
        ({"job__ttlSecondsAfterFinished": 100}, "KC618"),
        ({"pod__serviceAccountName": "robot"}, "KC615"),
        ({"pod__securityContext": {"runAsUser": 1000}}, "KC615"),
        ({"pod__nodeSelector": {"disk": "ssd"}}, "KC616"),
        ({"pod__tolerations": [{"operator": "Exists"}]}, "KC616"),
        ({"pod__priorityClassName": "high"}, "KC616"),
        ({"pod__hostname": "x"}, "KC620"),
        ({"main__resources": {"limits": {"memory": "1Gi"}}}, "KC617"),
        ({"main__lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}, "KC620"),
        ({"spec__concurencyPolicy": "Forbid"}, "KC621"),
        ({"pod__nodeSelectr": {}}, "KC621"),
    ],
    ids=str,
)
def test_a_field_without_counterpart_is_named_where_it_stands(changes, code):
    report = read(cronjob(**changes))
    only(report)
    (said,) = [each for each in report.diagnostics if each.code != "KC601"]
    assert said.code == code
    (name,) = (path.partition("__")[2] for path in changes)
    assert name in said.text
    assert name in said.message


def test_what_the_api_server_writes_into_every_object_is_no_difference():
    live = cronjob(
        metadata__namespace="shop",
        metadata__uid="0",
        metadata__managedFields=[{"manager": "kubectl"}],
        spec__concurrencyPolicy="Allow",
        spec__suspend=False,
        spec__successfulJobsHistoryLimit=3,
        spec__failedJobsHistoryLimit=1,
        pod__dnsPolicy="ClusterFirst",
        pod__schedulerName="default-scheduler",
        pod__securityContext={},
        pod__terminationGracePeriodSeconds=30,
        main__imagePullPolicy="IfNotPresent",
        main__resources={},
        main__terminationMessagePath="/dev/termination-log",
        main__terminationMessagePolicy="File",
        object__status={"lastScheduleTime": "2026-01-01T00:00:00Z"},
    )
    assert codes(read(live)) == []


# --- containers ----------------------------------------------------------------------------------

SIDECAR = {"name": "proxy", "image": "proxy", "command": ["proxy"]}


def test_one_of_several_containers_can_be_asked_for_and_the_others_are_named():
    several = cronjob(pod__initContainers=[SIDECAR | {"name": "first"}])
    several["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"].append(SIDECAR)
    report = read(several)
    assert [each.hint for each in report.diagnostics if each.code == "KC506"] == [
        "--container main, if its command does without the others"
    ]
    report = read(several, choice=ContainerChoice(containers=frozenset({"main"})))
    assert only(report).command == ["make", "backup"]
    assert [each.message for each in report.diagnostics if each.code == "KC619"] == [
        "backup: container proxy is left out",
        "backup: container first is left out",
    ]


@pytest.mark.parametrize("said", ["app:1", "app"])
def test_an_entry_point_that_is_said_makes_the_command_of_an_image(said):
    choice = ContainerChoice(entrypoints={said: ["/run.sh", "$HOME"]})
    assert only(read(cronjob(main__command=None), choice=choice)).command == ["/run.sh", "$HOME"]
    report = read(cronjob(main__command=None, main__args=["$$x"]), choice=choice)
    assert only(report).command == ["/run.sh", "$HOME", "$x"]
    assert only(read(cronjob(), choice=choice)).command == ["make", "backup"]


# --- variables -----------------------------------------------------------------------------------

SECRET = {"name": "DB_URL", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}
MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "app"},
    "data": {"MODE": "full", "N": "1"},
}


def needs(report):
    return {
        queue: [(need.kind, need.name, need.source) for need in found if need.kind != "image"]
        for queue, found in report.needs.items()
    }


def test_a_variable_of_a_secret_is_the_workers_and_the_command_asks_the_shell_for_it():
    report = read(cronjob(main__env=[SECRET], main__command=["psql", "$(DB_URL)", "a b"]))
    assert only(report).command == "exec psql \"${DB_URL}\" 'a b'"
    assert only(report).env == {}
    assert sorted(codes(report)) == ["KC610", "KC612"]
    assert needs(report) == {"default": [("variable", "DB_URL", "Secret db, key url")]}


def test_a_script_names_a_variable_of_a_secret_as_the_shell_does():
    report = read(cronjob(main__env=[SECRET], main__command=["sh", "-c", 'psql "$(DB_URL)" $(date)']))
    assert only(report).command == 'psql "${DB_URL}" $(date)'


def test_a_variable_that_is_made_of_a_secret_is_the_workers_too():
    made = {"name": "DSN", "value": "url=$(DB_URL)"}
    report = read(cronjob(main__env=[SECRET, made], main__command=["psql", "$(DSN)"]))
    assert only(report).command == 'exec psql "${DSN}"'
    assert needs(report)["default"][1] == ("variable", "DSN", "made as 'url=$(DB_URL)'")


def test_values_of_a_configmap_are_copied_where_the_input_has_it():
    fields = {
        "main__env": [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "N"}}}],
        "main__envFrom": [{"prefix": "P_", "configMapRef": {"name": "app"}}],
    }
    report = read(cronjob(**fields), MAP)
    assert only(report).env == {"P_MODE": "full", "P_N": "1", "LEVEL": "1"}
    assert codes(report) == ["KC611", "KC611"]
    without = read(cronjob(**fields))
    assert only(without).env == {}
    assert codes(without) == ["KC610", "KC610"]
    elsewhere = read(cronjob(**fields), MAP | {"metadata": {"name": "app", "namespace": "other"}})
    assert only(elsewhere).env == {}


def test_a_secret_in_the_input_is_not_copied():
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "stringData": {"url": "hidden"},
    }
    report = read(cronjob(main__env=[SECRET]), secret)
    assert "hidden" not in report.text
    assert only(report).env == {}


def test_a_name_of_a_source_whose_keys_are_not_known_is_taken_for_a_variable():
    source = [{"secretRef": {"name": "all"}}]
    report = read(cronjob(main__envFrom=source, main__command=["x", "$(TOKEN)", "$(date)"]))
    assert only(report).command == "exec x \"${TOKEN}\" '$(date)'"
    assert needs(report)["default"] == [
        ("variable", "*", "Secret all, every key"),
        ("variable", "TOKEN", "named in the command"),
    ]


def test_one_variable_with_two_sources_on_the_same_workers_is_told():
    other = cronjob(
        metadata__name="other",
        main__env=[{"name": "DB_URL", "valueFrom": {"secretKeyRef": {"name": "crm", "key": "url"}}}],
        main__image="crm:1",
    )
    report = read(cronjob(main__env=[SECRET]), other)
    assert [each.message for each in report.diagnostics if each.code == "KC613"] == [
        "other: variable DB_URL is another one than that of backup, on the same workers"
    ]
    assert "KC613" not in codes(read(cronjob(main__env=[SECRET]), other, queue_by="image"))


def test_a_volume_is_named_with_the_place_where_the_command_finds_it():
    report = read(
        cronjob(
            pod__volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": "shop"}},
                {"name": "t", "emptyDir": {}},
            ],
            main__volumeMounts=[{"name": "data", "mountPath": "/data"}, {"name": "t", "mountPath": "/tmp"}],
        )
    )
    assert codes(report) == ["KC614", "KC614"]
    assert needs(report)["default"] == [
        ("volume", "/data", "PersistentVolumeClaim shop"),
        ("volume", "/tmp", "an empty directory"),
    ]


# --- names and queues ----------------------------------------------------------------------------


def test_equal_names_of_two_namespaces_begin_with_the_namespace():
    report = read(
        *(cronjob(metadata__namespace=space) for space in ("shop", "crm")), cronjob(metadata__name="x")
    )
    assert [job.id for job in report.jobs] == ["shop-backup", "crm-backup", "x"]
    assert codes(report) == ["KC609", "KC609"]


def test_all_names_begin_with_the_namespace_where_that_is_wished():
    report = read(cronjob(metadata__namespace="shop"), cronjob(metadata__name="x"), with_namespace=True)
    assert [job.id for job in report.jobs] == ["shop-backup", "x"]
    assert codes(report) == []


def test_the_same_cronjob_again_is_refused():
    report = read(cronjob(), cronjob(spec__schedule="@daily"))
    assert [job.schedule for job in report.jobs] == ["30 2 * * *"]
    assert codes(report) == ["KC508"]


def test_names_that_differ_in_a_dot_only_are_numbered():
    report = read(cronjob(metadata__name="a.b"), cronjob(metadata__name="a-b"))
    assert [job.id for job in report.jobs] == ["a-b", "a-b-2"]


def test_each_image_gets_a_queue_by_its_name_and_by_its_tag_where_it_has_two():
    images = [
        "registry:5000/shop/app:1.2",
        "registry:5000/shop/app:1.3",
        "postgres@sha256:00",
        "postgres@sha256:00",
    ]
    objects = [cronjob(metadata__name=f"j{n}", main__image=image) for n, image in enumerate(images)]
    report = read(*objects, queue_by="image")
    assert [job.queue for job in report.jobs] == ["app-1-2", "app-1-3", "postgres", "postgres"]


def test_each_namespace_gets_a_queue():
    report = read(cronjob(metadata__namespace="shop"), cronjob(metadata__name="x"), queue_by="namespace")
    assert [job.queue for job in report.jobs] == ["shop", "default"]


# --- documents -----------------------------------------------------------------------------------


def test_lists_json_and_several_documents_are_read():
    listed = {"apiVersion": "v1", "kind": "List", "items": [cronjob(metadata__name="a"), MAP]}
    bare_items = {
        "apiVersion": "batch/v1",
        "kind": "CronJobList",
        "items": [cronjob(metadata__name="b", object__kind=None)],
    }
    text = "---\n# nothing\n---\n" + yaml.safe_dump_all([listed, bare_items]) + "---\n...\n"
    assert [job.id for job in read(text=text).jobs] == ["a", "b"]
    assert [job.id for job in read(text=json.dumps(listed, indent="\t")).jobs] == ["a"]
    report = read(text=json.dumps(listed))
    assert [each.about for each in report.diagnostics] == [
        "items[0].spec.jobTemplate.spec.template.spec.containers[0].image"
    ]


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.booleans())
def test_any_text_of_a_json_manifest_is_read_as_it_is(value, ascii_only):
    value = value.replace("$", "")
    text = json.dumps(cronjob(main__env=[{"name": "A", "value": value}]), ensure_ascii=ascii_only)
    assert only(read(text=text)).env == {"A": value}


@pytest.mark.parametrize("written", [r"\/", r"\\ud83d\\ude00", r"\\\ud83d\ude00", "\x7f\x9f", "\\u007f"])
def test_escapes_of_json_are_read_as_json(written):
    text = json.dumps(cronjob(main__command=["HERE"])).replace("HERE", written)
    assert only(read(text=text)).command == [json.loads(f'"{written}"')]


def test_a_document_that_is_no_yaml_costs_itself_alone_and_a_template_is_told_so():
    broken = "kind: CronJob\nmetadata: {{ .Values.name }}: x\n"
    text = (
        yaml.safe_dump(cronjob()) + "---\n" + broken + "---\n" + yaml.safe_dump(cronjob(metadata__name="x"))
    )
    report = read(text=text)
    assert [job.id for job in report.jobs] == ["backup", "x"]
    (error,) = [each for each in report.diagnostics if each.severity == "error"]
    assert error.code == "KC501"
    assert error.text == "metadata: {{ .Values.name }}: x"
    assert "helm template" in error.hint


def test_other_kinds_are_passed_over_and_each_kind_is_told_once():
    others = [{"apiVersion": "v1", "kind": "Service"}, {"apiVersion": "v1", "kind": "Service"}, {"a": 1}]
    foreign = cronjob(object__apiVersion="stable.example.com/v1")
    report = read(*others, foreign, cronjob())
    assert [each.message for each in report.diagnostics if each.code == "KC622"] == [
        "kind Service (2 of them) is passed over",
        "what has no kind is passed over",
        "kind CronJob is passed over",
    ]


def test_anchors_merges_and_yaml_1_1s_own_numbers_are_read_as_kubernetes_does():
    text = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup}
x-env: &env {name: AT, value: 22:30}
spec:
  schedule: "@daily"
  timeZone: UTC
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          containers:
            - {name: main, image: a, command: [x], env: [*env, {<<: *env, name: DAY, value: 2026-01-01}]}
"""
    assert only(read(text=text)).env == {"AT": "22:30", "DAY": "2026-01-01"}


def test_a_line_number_counts_from_the_files_start():
    text = (
        "# one\n---\n"
        + yaml.safe_dump(MAP)
        + "---\n"
        + yaml.safe_dump(cronjob(spec__suspend=True), sort_keys=False)
    )
    (said,) = [each for each in read(text=text).diagnostics if each.code == "KC605"]
    assert text.split("\n")[said.line - 1] == "  suspend: true" == said.text
    assert said.col == 3


@given(st.one_of(st.text(), st.binary()), st.sampled_from(["", "kind: CronJob\nspec:\n "]))
def test_no_content_makes_it_raise(content, head):
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    importer.import_cronjobs([("x", head.encode() + data)], ImportOptions())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "value", "spec", "command", "env", "valueFrom", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
PATHS = st.sampled_from(
    [
        *("object__metadata", "object__spec", "metadata__name", "metadata__annotations", "spec__schedule"),
        *(
            "spec__timeZone",
            "spec__suspend",
            "spec__jobTemplate",
            "job__backoffLimit",
            "job__podFailurePolicy",
        ),
        *(
            "pod__containers",
            "pod__initContainers",
            "pod__volumes",
            "pod__restartPolicy",
            "pod__securityContext",
        ),
        *("main__command", "main__args", "main__env", "main__envFrom", "main__volumeMounts", "main__image"),
    ]
)


@given(st.dictionaries(PATHS, JSON.filter(lambda value: value is not None), max_size=3))
def test_no_value_of_a_field_makes_it_raise(changes):
    report = read(cronjob(**changes))
    assert report.jobs or any(each.severity == "error" for each in report.diagnostics)


# --- there and back ------------------------------------------------------------------------------


def as_kubernetes_says_it(job):
    """The job in the words that come back: its schedule, and no directory where that is its HOME anyway."""
    cwd = None if job.cwd == job.env.get("HOME") else job.cwd
    return replace(job, schedule=schedule_dialect.read(schedule_dialect.written(job)).schedule, cwd=cwd)


def test_a_directory_that_is_the_jobs_home_comes_back_as_its_home():
    job = Job(id="a", schedule="@daily", command="x", cwd="/h", env={"HOME": "/h"})
    (back,) = read(text=exporter.write([job]).text).jobs
    assert bare([back]) == bare([replace(job, cwd=None)])
    assert working_directory(back.cwd, back.env) == working_directory(job.cwd, job.env) == "/h"


@given(job_lists())
def test_jobs_that_became_cronjobs_come_back_as_they_were(jobs):
    text = exporter.write(jobs, image="app").text
    written = [job for job in jobs if schedule_dialect.written(job) is not None]
    left_out = {job.id for job in jobs} - {job.id for job in written}
    report = read(text=text)
    errors = [each for each in report.diagnostics if each.severity == "error"]
    if left_out & {name for job in written for name in job.after}:
        assert {each.code for each in errors} == {"KC511"}
        return
    assert [str(each) for each in errors] == []
    assert bare(report.jobs) == bare(map(as_kubernetes_says_it, written))
    assert bare(yaml_jobs.parse(report.text).jobs) == bare(report.jobs)


@pytest.mark.parametrize(
    "command", [["x", "a b"], ["/usr/bin/x", "$HOME $(date) $$"], "a | b\nc", "$(date) $$ 100%"]
)
@pytest.mark.parametrize("cwd", [None, "/srv"])
def test_commands_and_directories_come_back(command, cwd):
    job = Job(id="a", schedule="@daily", command=command, cwd=cwd, env={"HOME": "/h", "X Y": "z"}, memory=512)
    report = read(text=exporter.write([job]).text)
    assert bare(report.jobs) == bare([job])


@given(job_lists())
def test_what_becomes_a_crontab_is_the_same_to_the_shell(jobs):
    text = exporter.write(jobs, image="app").text
    one, other = read(text=text), read(text=text, form="crontab")
    parsed = crontab.parse(other.text).jobs
    assert bare(parsed) == bare(other.jobs)
    assert bare(parsed) == bare(one.jobs)


def test_what_no_crontab_can_say_is_told_and_the_others_are_written():
    script = cronjob(metadata__name="script", main__command=["sh", "-c", "a\nb"])
    bash = cronjob(metadata__name="bash", main__command=["/bin/bash", "-c", "a"])
    report = read(cronjob(), script, bash, form="crontab")
    assert codes(report) == ["KC509"]
    parsed = crontab.parse(report.text)
    assert [(job.id, job.command, job.shell) for job in parsed.jobs] == [
        ("backup", "make backup", "/bin/sh"),
        ("bash", "a", "/bin/bash"),
    ]
    assert "# CronJob backup, image app:1\n" in report.text
