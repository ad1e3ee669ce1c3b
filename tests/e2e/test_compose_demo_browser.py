"""rq-dashboard of the shipped stack in a real browser: our queues, our runs, how they ended and why, our workers.

``E2E_PICTURES=1 make e2e`` writes what the browser shows to docs/pictures.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.stack import ROOT, Stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PICTURES = ROOT / "docs" / "pictures"
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1280,900",
)  # fmt: skip
# The columns of the table of queues, in order, and the key of what each one counts.
REGISTRIES = {
    "queued": "queue",
    "deferred": "deferred",
    "scheduled": "scheduled",
    "started": "wip",
    "finished": "finished",
    "failed": "failed",
    "canceled": "canceled",
}


class Page:
    """A browser on rq-dashboard."""

    def __init__(self, driver, stack: Stack) -> None:
        self.driver = driver
        self.stack = stack

    def open(self, path: str) -> None:
        """A page by its address."""
        self.driver.get(f"http://127.0.0.1:{self.stack.ports['DASHBOARD_PORT']}{path}")

    def text(self) -> str:
        """What a person reads, without empty lines."""
        return re.sub(r"\n\s*\n", "\n", self.driver.execute_script("return document.body.innerText"))

    def rows(self, selector: str) -> list[list[str]]:
        """A table's cells, read in one go: the page renews itself."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map("
            "row => [...row.querySelectorAll('td')].map(cell => cell.innerText.trim()))",
            selector,
        )

    def follow(self, selector: str) -> str:
        """Click on the first of these links, once there is one; its text."""
        link = eventually(lambda: self.driver.find_elements("css selector", selector), 15)[0]
        text = str(link.text)
        link.click()
        return text

    def keep(self, name: str) -> None:
        """A picture for docs/, if pictures are asked for."""
        if os.environ.get("E2E_PICTURES"):
            PICTURES.mkdir(exist_ok=True)
            self.driver.save_screenshot(str(PICTURES / f"{name}.png"))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A browser of its own, which fetches nothing from anywhere."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    control = shutil.which("chromedriver")
    if browser is None or control is None:
        pytest.skip("no browser: install Chromium (or Chrome) and chromedriver, so that both are on the PATH")
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="no selenium: `make e2e` installs requirements/browser.txt"
    )
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(argument)
    made = webdriver.Chrome(options=options, service=Service(executable_path=control))
    yield made
    made.quit()


@pytest.fixture
def page(driver, demo: Stack) -> Page:
    """The browser on the stack as shipped."""
    demo.wait_until_well()
    return Page(driver, demo)


def counts(stack: Stack, queue: str) -> list[int]:
    """What Redis says of a queue, in the order of the columns."""
    return [
        int(stack.redis("LLEN" if kind == "queue" else "ZCARD", f"rq:{kind}:{queue}"))
        for kind in REGISTRIES.values()
    ]


def test_the_queues_are_there_with_what_redis_counts(page):
    page.open("/")

    def are_all_there() -> dict[str, list[int]]:
        shown = {
            row[0]: [int(cell) for cell in row[1:]] for row in page.rows("#queues tbody tr") if len(row) > 1
        }
        return shown if {"batch", "default"} <= set(shown) else {}

    eventually(are_all_there, 90, every=0.2)  # the first run of batch comes with a new minute
    page.keep("rq-dashboard-queues")
    finished = list(REGISTRIES).index("finished")
    for queue in ("batch", "default"):
        before = counts(page.stack, queue)
        shown = eventually(
            lambda queue=queue, before=before: (
                are_all_there() if are_all_there()[queue][finished] >= before[finished] else {}
            ),
            15,
            every=0.2,
        )[queue]
        after = counts(page.stack, queue)
        assert before[finished] <= shown[finished] <= after[finished]
        assert before[finished] > 0


def test_a_finished_run_tells_what_it_was_and_what_came_of_it(page):
    page.open("/0/view/jobs/default/finished/8/dsc/1")
    eventually(lambda: any("hello at" in " ".join(row) for row in page.rows("#jobs tbody tr")), 15)
    page.keep("rq-dashboard-runs")
    run = page.follow("a[href*='/view/job/hello-']")
    text = eventually(lambda: page.text() if "Status:\nfinished" in page.text() else "", 15)
    page.keep("rq-dashboard-run")
    assert f"Job ID: {run}" in text
    assert "Description:\nhello at 20" in text
    assert '"outcome": "success"' in text
    assert '"head": "hello from ' in text
    assert run in text.partition('"head"')[2]


@pytest.fixture
def payments_fail(demo: Stack) -> Iterator[Callable[[], None]]:
    """`payments` fails meanwhile, as examples/compose/alert.sh makes it."""
    worker = demo.containers("worker")[0]
    demo.execute(worker, "touch", "/work/broken")
    yield
    demo.execute(worker, "rm", "/work/broken")


def test_a_failed_run_tells_why(page, payments_fail):
    page.open("/0/view/jobs/default/failed/8/dsc/1")
    run = page.follow("a[href*='/view/job/payments-']")
    text = eventually(lambda: page.text() if "Status:\nfailed" in page.text() else "", 15)
    page.keep("rq-dashboard-failure")
    assert f"Job ID: {run}" in text
    assert "Exception Info:\nfailed (exit code 1)\nno payments today" in text


def test_the_workers_are_there_with_what_they_run(page):
    page.open("/0/view/workers")
    eventually(
        lambda: any(row[1:2] != ["idle"] for row in page.rows("#workers tbody tr") if len(row) > 2),
        40,
        every=0.2,
    )
    page.keep("rq-dashboard-workers")
    rows = [row for row in page.rows("#workers tbody tr") if len(row) > 2]
    hosts = {page.stack.inspect(name)["Config"]["Hostname"] for name in page.stack.containers("worker")}
    assert len(rows) == len(hosts)
    assert all(any(host in row[0] for row in rows) for host in hosts)
