"""What each kind of difference says, word for word: tests/golden/import/report.txt, of the manifests beside it.

KUBER_CRON_WRITE_GOLDEN=1 writes the file anew; read the difference before you commit it.
"""

import os
import re
from pathlib import Path

from kuber_cron.common.diagnostics import render
from kuber_cron.common.formats.cronjob import difference_codes, importer
from kuber_cron.common.formats.cronjob.importer import ImportOptions
from kuber_cron.common.formats.cronjob.pod_reader import ContainerChoice

ROOT = Path(__file__).parents[5]
FOLDER = ROOT / "tests" / "golden" / "import"
SOURCES = ROOT / "common" / "formats" / "cronjob"


def reports():
    content = (FOLDER / "cronjobs.yaml").read_bytes()
    choice = ContainerChoice(containers=frozenset({"main"}))
    return {
        form: importer.import_cronjobs([("cronjobs.yaml", content)], ImportOptions(form=form, choice=choice))
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
    assert told == set(difference_codes.DIFFERENCES)
    sources = [path.read_text() for path in SOURCES.glob("*.py") if path.stem != "difference_codes"]
    assert {code for source in sources for code in re.findall(r'"(KC[56]\d\d)"', source)} == told
