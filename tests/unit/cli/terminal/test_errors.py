import json

import pytest

from kuber_cron.cli.terminal import errors
from kuber_cron.common.errors import KuberCronError, RedisUnreachableError, UsageError


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["check", "x", "--format", "json"], True),
        (["check", "--format=json", "x"], True),
        (["check", "x", "--format", "table"], False),
        (["check", "x"], False),
        (["check", "x", "--format"], False),
        (["check", "--", "--format", "json"], False),
        ([], False),
    ],
)
def test_json_is_wanted_where_the_words_ask_for_it(argv, wanted):
    assert errors.wants_json(argv) is wanted


def test_an_error_is_one_sentence_and_one_hint_on_stderr(capsys):
    assert errors.report(KuberCronError("it is broken", hint="mend it"), as_json=False) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: it is broken\nhint: mend it\n"


def test_an_error_in_json_is_the_documented_document_and_nothing_on_stderr(capsys):
    assert errors.report(RedisUnreachableError("no answer"), as_json=True) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "version": 1,
        "error": {"code": "redis-unreachable", "message": "no answer", "hint": None},
    }


def test_a_usage_error_has_status_two():
    assert errors.report(UsageError("no"), as_json=False) == 2


def test_an_unexpected_error_says_how_to_report_it_and_shows_no_traceback(capsys, monkeypatch):
    monkeypatch.delenv("KUBER_CRON_LOG_LEVEL", raising=False)
    assert errors.report(ZeroDivisionError("a\nb"), as_json=False) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: unexpected ZeroDivisionError: a b (kuber-cron ")
    assert "please report it" in err
    assert "Traceback" not in err


def test_an_unexpected_error_shows_its_traceback_at_the_debug_level(capsys, monkeypatch):
    monkeypatch.setenv("KUBER_CRON_LOG_LEVEL", "DEBUG")
    with pytest.raises(ZeroDivisionError) as raised:
        _ = 1 / 0
    errors.report(raised.value, as_json=False)
    assert "Traceback" in capsys.readouterr().err


def test_a_message_with_control_characters_cannot_touch_the_terminal(capsys):
    errors.report(KuberCronError("\x1b[2J", hint="\x07"), as_json=False)
    assert capsys.readouterr().err == "error: \\x1b[2J\nhint: \\x07\n"


def test_the_further_lines_of_a_message_are_set_in(capsys):
    errors.report(KuberCronError("two are bad\nA\nB"), as_json=False)
    assert capsys.readouterr().err == "error: two are bad\n  A\n  B\n"


def test_an_expected_error_shows_its_traceback_only_where_that_was_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("KUBER_CRON_LOG_LEVEL", "debug")
    errors.report(KuberCronError("it is broken"), as_json=False)
    assert capsys.readouterr().err == "error: it is broken\n"
    errors.report(KuberCronError("it is broken"), as_json=False, with_traceback=True)
    assert "KuberCronError: it is broken\nerror: it is broken\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "rest", "asked"),
    [
        (["status", "--debug"], ["status"], True),
        (["--debug", "status"], ["status"], True),
        (["status"], ["status"], False),
        (["x", "--", "--debug"], ["x", "--", "--debug"], False),
        (["x", "--debug", "--", "--debug"], ["x", "--", "--debug"], True),
    ],
)
def test_debug_is_taken_out_wherever_it_stands(argv, rest, asked):
    assert errors.without_debug(argv) == (rest, asked)
