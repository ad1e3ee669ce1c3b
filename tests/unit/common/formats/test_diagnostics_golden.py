"""What each class of mistake says, word for word: tests/golden/diagnostics.txt (cron.md §5).

KUBER_CRON_WRITE_GOLDEN=1 writes the file anew; read the difference before you commit it.
"""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kuber_cron.common.diagnostics import render
from kuber_cron.common.formats import lint
from kuber_cron.common.formats.crontab import MAX_VARIABLES, parse
from kuber_cron.common.formats.crontab_lines import MAX_LINE_BYTES
from kuber_cron.common.formats.resolver import MAX_JOBS

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT / "tests" / "golden" / "diagnostics.txt"
COMMON = ROOT / "common"
MODULES = [path for folder in ("schedule", "jobs", "formats") for path in (COMMON / folder).glob("*.py")]
NOW = datetime(2026, 1, 1, tzinfo=UTC)

# What stands here as one entry may hold several mistakes of one kind.
CASES = {
    "too few fields": "0 6 * * \n",
    "seconds": "0 */5 * * * * /opt/a.sh\n0 30 2 * * * 2026 /opt/b.sh\n",
    "nicknames": "@Daily x\n@dayly x\n@fortnightly x\n@ daily x\n",
    "values outside": "60 * * * * x\n* 24 * * * x\n* * 0 * * x\n* * * 13 * x\n* * * * 8 x\n* * * * 5#6 x\n",
    "grammar": "*5 * * * * x\n1-5-7 * * * * x\n1/2/3 * * * * x\n1,,2 * * * * x\n1- * * * * x\n1.5 * * * * x\n",
    "backward ranges": "* 22-6 * * * x\n50-10/5 * * * * x\n* * * nov-feb * x\n* * * * fri-mon x\n10~5 * * * * x\n",
    "a step of zero": "*/0 * * * * x\n",
    "names": "* * * january * x\n* * * * Monday x\nmon * * * * x\n* * * mon * x\n* * * * wek x\n",
    "signs of other fields and programs": "* L * * * x\n* * 5#2 * * x\n? * * * * x\nh * * * * x\nR * * * * x\n* * * * L5 x\n",
    "limits of a field": "1234567890 * * * * x\n" + "1," * 300 + "2 * * * * x\n",
    "durations": "@every x\n@every 5 x\n@every 1H x\n@every 0s x\n@every 8d x\n",
    "no command": "0 6 * * *\n@daily %x\n",
    "no user, no command": "# kuber-cron: file format=system\n0 6 * * *\n0 6 * * * www\n",
    "a zone on the job's line": "CRON_TZ=Europe/Berlin 0 6 * * * x\nTZ=UTC @daily x\n",
    "blanks that are none": "0\u00a06 * * * x\n0 6 * *\u200b * x\n",
    "too many jobs": "@daily x\n" * (MAX_JOBS + 2),
    "bytes": b"0 6 * * * caf\xe9\n0 6 * * * x\0y\n",
    "a long line": "0 6 * * * ".ljust(MAX_LINE_BYTES + 1, "x") + "\n",
    "names of variables": "1A=b\n=b\nA-B=c\n'A=b\n",
    "quotes of variables": "A=\"b\nA='b' c\n",
    "the shell's words": "export A=b\nset A=b\nsetenv A=b\n",
    "zones": "CRON_TZ=Europe/Berln\n@daily x\nCRON_TZ=UTC+2\nCRON_TZ=CEST\nCRON_TZ=berlin\n",
    "random delay": "RANDOM_DELAY=1h\n",
    "too many variables": "".join(f"A{n}=\n" for n in range(MAX_VARIABLES + 1)),
    "not key=value": "# kuber-cron: retries = 3\n@daily x\n# kuber-cron: default queue=a\n@daily x\n",
    "an empty directive": "# kuber-cron:\n@daily x\n",
    "unknown options": (
        "# kuber-cron: retires=3\n# kuber-cron: concurrencyPolicy=Forbid\n# kuber-cron: stdin=x shell=y\n@daily x\n"
        "# kuber-cron: defaults name=x\n@daily x\n"
    ),
    "options of a file": "# kuber-cron: file retries=3\n# kuber-cron: file formt=user\n# kuber-cron: file format=sytem\n",
    "values of options": (
        "# kuber-cron: timeout=10x retries=-1 concurrency=forbidden name='a b' suspend=maybe\n"
        '# kuber-cron: retry_jitter=2 memory=1X not_before=tomorrow env.1=x description="a\n'
        "# kuber-cron: success_codes=0,256 nice=99 umask=9 catchup='all'x\n@daily x\n"
    ),
    "a time zone in a directive": "# kuber-cron: tz=Europe/Pariss\n@daily x\n",
    "nearly a directive": "# kubercron: retries=3\n@daily x\n# kuber-corn: retries=3\n@daily x\n",
    "an option given twice": "# kuber-cron: retries=1 retries=2\n# kuber-cron: tz=UTC timezone=UTC\n@daily x\n",
    "a late file directive": "@daily x\n# kuber-cron: file format=system\n",
    "a duplicate name": "# kuber-cron: name=a\n@daily x\n# kuber-cron: name=a\n@daily y\n",
    "a directive without a job": "# kuber-cron: retries=3\n",
    "predecessors": (
        "# kuber-cron: name=backup\n@daily x\n# kuber-cron: name=a after=bakcup\n@daily x\n# kuber-cron: name=b after=a\n@daily x\n"
    ),
    "below defaults in error": "# kuber-cron: defaults x=1\n@daily x\n",
    "a cycle": "# kuber-cron: name=a after=b\n@daily x\n# kuber-cron: name=b after=a\n@daily x\n",
    "@after without after": "@after x\n",
    "never runs": "0 0 31 2 * x\n",
    "variables that do less than they seem to": "TZ=Europe/Rome\nMAILTO=me\nUSER=www\n@daily x\n",
    "Windows": "\ufeff@daily x\r\n",
    "commands that surprise": "@daily date +%F\n@daily x &\n0 6 * * * * x\n@daily root x\n@daily x # kuber-cron: a=b\n",
    "steps of days": "0 0 */2 * 1 x\n0 0 * * */2 x\n",
    "groups": "# kuber-cron: group=a:2\n@daily x\n# kuber-cron: group=a\n@daily y\n",
    "gaps and folds": "CRON_TZ=Europe/Berlin\n30 2 * * * x\n",
}


def findings(text):
    parsed = parse(text)
    return [*parsed.diagnostics, *lint.transitions(parsed.jobs, NOW)]


def rendered(name):
    said = "\n".join(render(one) for one in findings(CASES[name]))
    return f"## {name}\n{said}\n"


def golden():
    sections = re.split(r"^(?=## )", GOLDEN.read_text("utf-8"), flags=re.MULTILINE)
    return {
        section.partition("\n")[0].removeprefix("## "): section.strip("\n") + "\n"
        for section in sections
        if section
    }


@pytest.fixture(scope="module", autouse=True)
def written():
    if os.environ.get("KUBER_CRON_WRITE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text("\n".join(map(rendered, CASES)), "utf-8")


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_in_the_words_of_the_golden_file(name):
    assert rendered(name) == golden()[name]


def test_the_golden_file_holds_nothing_else():
    assert list(golden()) == list(CASES)


def test_each_code_is_told_at_least_once():
    sources = [path.read_text("utf-8") for path in MODULES if not path.stem.startswith("yaml")]
    codes = {code for source in sources for code in re.findall(r'"(KC\d{3})"', source)}
    # Not the variable on the schedule's line: a crontab reads that as a variable's line, only YAML can hold it; nor the
    # file that cannot be read at all.
    assert codes - {"KC112", "KC117"} <= {one.code for text in CASES.values() for one in findings(text)}
