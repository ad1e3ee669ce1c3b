"""Log lines: one form for ours and foreign ones, and no secret in any."""

import io
import json
import logging
import threading
import warnings

import pytest
import structlog

from kuber_cron.common.observability import logging_setup, redaction


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def as_before():
    root = logging.getLogger()
    handlers, level, secrets = list(root.handlers), root.level, redaction.known_secrets
    floors = {name: logging.getLogger(name).level for name in logging_setup._FLOORS}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, floor in floors.items():
        logging.getLogger(name).setLevel(floor)
    logging.captureWarnings(False)
    redaction.known_secrets = secrets


log = structlog.get_logger("kuber_cron.tests")  # made before configure, as modules do


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_for_machines_is_one_json_object_with_event_and_fields():
    stream = io.StringIO()
    logging_setup.configure("auto", "info", stream)
    log.info("run queued", job="backup", note="two\nlines")
    (line,) = lines(stream)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "run queued",
        "level": "info",
        "logger": "kuber_cron.tests",
        "job": "backup",
        "note": "two\nlines",
    }


def test_a_terminal_gets_text():
    stream = Terminal()
    logging_setup.configure("auto", "info", stream)
    log.info("run queued", job="backup")
    assert "run queued" in stream.getvalue()
    assert "{" not in stream.getvalue()


@pytest.mark.parametrize(("form", "stream"), [("json", Terminal()), ("text", io.StringIO())])
def test_a_named_format_wins_over_the_stream(form, stream):
    logging_setup.configure(form, "info", stream)
    log.info("run queued")
    assert stream.getvalue().startswith("{") is (form == "json")


def test_a_file_gets_no_colours():
    stream = io.StringIO()
    logging_setup.configure("text", "info", stream)
    log.warning("run missed", job="backup")
    assert "\x1b" not in stream.getvalue()


def test_foreign_lines_look_like_ours():
    stream = io.StringIO()
    logging_setup.configure("json", "info", stream)
    logging.getLogger("redis").warning("lost %s", "connection", extra={"try": 2})
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"], line["try"]) == (
        "lost connection",
        "warning",
        "redis",
        2,
    )


def test_an_exception_stays_one_line_of_json():
    stream = io.StringIO()
    logging_setup.configure("json", "info", stream)
    try:
        int("no")
    except ValueError:
        log.exception("it failed")
        logging.getLogger("rq").exception("it failed too")
    ours, theirs = lines(stream)
    assert "ValueError: invalid literal" in ours["exception"]
    assert "ValueError: invalid literal" in theirs["exception"]


def test_a_warning_of_python_is_a_line_too():
    stream = io.StringIO()
    logging_setup.configure("json", "info", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # catch_warnings has put pytest's own recorder in its place
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [line["logger"] for line in lines(stream)] == ["py.warnings"]


def test_below_the_level_nothing_is_written():
    stream = io.StringIO()
    logging_setup.configure("json", "warning", stream)
    log.info("run queued")
    logging.getLogger("redis").info("connected")
    assert stream.getvalue() == ""


def test_the_answers_of_the_api_server_are_not_logged_even_at_debug():
    stream = io.StringIO()
    logging_setup.configure("json", "debug", stream)
    logging.getLogger("kubernetes.client.rest").debug("response body: %s", "token")
    log.debug("ours is")
    assert [line["event"] for line in lines(stream)] == ["ours is"]


def test_configured_twice_each_line_is_written_once_and_to_the_second():
    first, second = io.StringIO(), io.StringIO()
    logging_setup.configure("json", "info", first)
    logging_setup.configure("json", "info", second)
    log.info("run queued")
    assert (first.getvalue(), len(lines(second))) == ("", 1)


def test_no_password_of_a_url_is_written_however_deep():
    stream = io.StringIO()
    logging_setup.configure("json", "info", stream)
    url = "redis://user:geheim@host/0"
    event = f"lost {url}"
    try:
        int(url)  # which its error quotes
    except ValueError:
        log.exception(event, deep={"list": [url], "bytes": url.encode()}, error=ConnectionError(url))
    logging.getLogger("redis").warning("lost %s", url)
    assert len(lines(stream)) == 2
    assert "geheim" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("secret", ["plainsecret", 'quote"back\\slash', "schlüssel"])
def test_a_hidden_secret_is_written_in_no_form(form, secret):
    stream = io.StringIO()
    logging_setup.configure(form, "info", stream)
    redaction.hide(secret)
    event = f"key {secret}"
    log.info(event, key=secret, of=[secret])
    written = stream.getvalue()
    assert written
    assert secret not in written
    assert json.dumps(secret)[1:-1] not in written
    assert secret.encode("unicode_escape").decode() not in written


def test_hiding_an_empty_secret_leaves_lines_readable():
    stream = io.StringIO()
    logging_setup.configure("json", "info", stream)
    redaction.hide("", "before")
    log.info("all as before")
    assert lines(stream)[0]["event"] == "all as before"


def test_threads_write_whole_lines():
    stream = io.StringIO()
    logging_setup.configure("json", "info", stream)
    threads = [
        threading.Thread(target=lambda n=n: [log.info("line", thread=n, i=i) for i in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((line["thread"], line["i"]) for line in lines(stream)) == [
        (n, i) for n in range(8) for i in range(50)
    ]
