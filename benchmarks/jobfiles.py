"""What the worst job files cost: 64 KiB each, against the budget of 250 ms (spec: cron.md §5). Exit 1 beyond it.

python benchmarks/jobfiles.py
"""

import sys
import time

from kuber_cron.common.formats import crontab, yaml_jobs

SIZE = 64 * 1024
BUDGET_MS = 250.0


def fill(unit: str) -> str:
    return (unit * (SIZE // len(unit) + 1))[:SIZE]


def lines(template: str) -> str:
    out, number = "", 0
    while len(out) < SIZE:
        out += template.format(n=number) + "\n"
        number += 1
    return out


CRONTABS = {
    "one line": fill("x"),
    "percent signs": "* * * * * " + fill("%"),
    "blanks": fill(" "),
    "good jobs": lines("{n} * * * * /opt/job-{n} --flag"),
    "bad minutes": lines("{n}x * * * * true"),
    "bad zones": lines("CRON_TZ=Europe/Berl{n}"),
    "misspelt directives": lines("# kuber-cron: retires={n}\n* * * * * true"),
    "near misses": lines("# kubercron: name=j{n}"),
    "never firing": lines("0 0 31 2 * never-{n}"),
    "nth weekdays": lines("0 0 29 2 1#5 {n}"),
    "hashed lists": lines("H/1,H/2,H/3,H/4 * * * * job{n}"),
    "long lists": lines(",".join(str(i % 60) for i in range(200)) + " * * * * job{n}"),
    "one chain": lines("# kuber-cron: name=j{n} after=j{n}0\n@daily true"),
    "unclosed quotes": lines('A{n}="'),
    "lone surrogates": fill("* * * * * \udcff\n"),
}
YAMLS = {
    "flow depth": fill("["),
    "aliases": "a: &a [x]\nb: [" + fill("*a,") + "]",
    "good jobs": "version: 1\njobs:\n" + lines("- {{name: j{n}, schedule: '@daily', command: x}}"),
    "unknown keys": "version: 1\njobs:\n"
    + lines("- {{name: j{n}, schedule: '@daily', command: x, retires: 1}}"),
    "bad zones": "version: 1\njobs:\n" + lines("- {{schedule: '@daily', command: x, timezone: Berl{n}}}"),
    "quotes": fill("'"),
    "colons": fill("a: "),
}


def main() -> int:
    worst = 0.0
    print("| file | kind | ms for 64 KiB | diagnostics |")
    print("| --- | --- | ---: | ---: |")
    for kind, files, parse in (("crontab", CRONTABS, crontab.parse), ("YAML", YAMLS, yaml_jobs.parse)):
        for name, text in files.items():
            began = time.perf_counter()
            parsed = parse(text)
            spent = (time.perf_counter() - began) * 1000 * SIZE / len(text)
            worst = max(worst, spent)
            print(f"| {name} | {kind} | {spent:.0f} | {len(parsed.diagnostics)} |")
    print(f"\nworst: {worst:.0f} ms of {BUDGET_MS:.0f}")
    return worst > BUDGET_MS


if __name__ == "__main__":
    sys.exit(main())
