"""Links between pages lead somewhere, to the heading too, and every page can be reached from the index."""

import re
from pathlib import Path

import pytest

from kuber_cron.common.formats.cronjob import difference_codes

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
# A file or a pattern of files of this tree: `tests/e2e/kubernetes`, `common/runs/*.py`.
_NAMED = re.compile(r"`((?:cli|common|control|scheduler|worker|tests|benchmarks|k8s|examples)/[\w./*-]*\w)`")


def anchors(page):
    """The headings of a page as GitHub names them."""
    found = re.findall(r"^#+ (.*)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = []
    for target, anchor in _LINK.findall(_CODE.sub("", page.read_text())):
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_the_tree_that_a_page_names_is_there(page):
    assert [name for name in _NAMED.findall(page.read_text()) if not list(ROOT.glob(name))] == []


def test_the_index_leads_to_every_page():
    index = (DOCS / "README.md").read_text()
    linked = {(DOCS / target).resolve() for target, _ in _LINK.findall(index) if target}
    pages = {page for page in DOCS.rglob("*.md") if page.parent.name not in {"adr", "runbooks"}}
    assert pages - linked - {DOCS / "README.md"} == set()


def test_the_guide_holds_the_table_of_codes():
    """python -c 'from kuber_cron.common.formats.cronjob import difference_codes as differences; print(differences.table())'"""
    assert difference_codes.table() in (DOCS / "moving" / "kubernetes-cronjob.md").read_text()
