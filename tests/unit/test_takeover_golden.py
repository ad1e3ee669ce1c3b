"""What each kind of difference says, word for word: tests/golden/import/report.txt, of the manifests beside it.

KUBER_CRON_WRITE_GOLDEN=1 writes the file anew; read the difference before you commit it.
"""

import os
import re
from pathlib import Path

from kuber_cron.common import differences, takeover
from kuber_cron.common.diagnostics import render
from kuber_cron.common.pods import Choices
from kuber_cron.common.takeover import Wishes

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "golden" / "import"
MODULES = (
    "annotations",
    "cronjobs",
    "findings",
    "kube_jobs",
    "kube_objects",
    "pod_env",
    "pod_fields",
    "pods",
)


def reports():
    content = (FOLDER / "cronjobs.yaml").read_bytes()
    choices = Choices(containers=frozenset({"main"}))
    return {
        form: takeover.take_over([("cronjobs.yaml", content)], Wishes(form=form, choices=choices))
        for form in ("yaml", "crontab")
    }


def test_a_difference_is_told_in_the_words_of_the_golden_file():
    said = {form: "\n".join(map(render, report.diagnostics)) for form, report in reports().items()}
    yaml = set(said["yaml"].split("\n"))
    only_in_crontabs = "\n".join(line for line in said["crontab"].split("\n") if line not in yaml)
    text = f"{said['yaml']}\n\n## only with --to crontab\n{only_in_crontabs}\n"
    if os.environ.get("KUBER_CRON_WRITE_GOLDEN"):
        (FOLDER / "report.txt").write_text(text)
    assert text == (FOLDER / "report.txt").read_text()


def test_the_job_file_is_the_golden_one():
    text = reports()["yaml"].text
    if os.environ.get("KUBER_CRON_WRITE_GOLDEN"):
        (FOLDER / "jobs.yaml").write_text(text)
    assert text == (FOLDER / "jobs.yaml").read_text()


def test_each_difference_of_the_table_is_told_and_no_other():
    told = {each.code for report in reports().values() for each in report.diagnostics}
    assert told == set(differences.DIFFERENCES)
    sources = [(ROOT / "common" / f"{module}.py").read_text() for module in (*MODULES, "takeover")]
    assert {code for source in sources for code in re.findall(r'"(KC\d{3})"', source)} == told
