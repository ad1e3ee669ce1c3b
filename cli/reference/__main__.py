"""Write every page and schema that is made from the code: ``make docs``, or ``python -m kuber_cron.cli.reference``.

It is run at the root of the repository. A test holds that what it would write is what is there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from kuber_cron.cli.reference import commands_page, json_page, options_page, settings_page
from kuber_cron.common.formats.cronjob import difference_codes

PAGES: Mapping[str, Callable[[], str]] = {
    "docs/cli-reference.md": commands_page.page,
    "docs/json.md": json_page.page,
    "docs/json.schema.json": json_page.schema_text,
    "docs/settings.md": settings_page.page,
    "common/formats/jobfile.schema.json": options_page.schema_text,
}
"""Files that are made as a whole."""

TABLES: Mapping[str, Callable[[], str]] = {
    "docs/job-files.md": options_page.table,
    "docs/moving/kubernetes-cronjob.md": difference_codes.table,
}
"""Pages of which one table is made."""


def texts(root: Path) -> dict[Path, str]:
    """Return the text that each file below `root` should hold."""
    found = {root / name: make() for name, make in PAGES.items()}
    for name, make in TABLES.items():
        path = root / name
        found[path] = _with_table(path.read_text(encoding="utf-8"), make().rstrip("\n"))
    return found


def _with_table(page: str, table: str) -> str:
    """Return the page with the table of the same header replaced."""
    before, header, rest = page.partition(table.splitlines()[0])
    if not header:
        raise ValueError(f"the page has no table that begins with {table.splitlines()[0]!r}")
    _, blank, after = rest.partition("\n\n")
    return before + table + (blank or "\n") + after


def main() -> None:
    """Write all of them."""
    for path, text in texts(Path.cwd()).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
