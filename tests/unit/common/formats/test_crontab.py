"""Crontab files: the truths of cron.md §2 and §3 one by one, and laws over arbitrary text."""

import hashlib
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuber_cron.common.diagnostics import render
from kuber_cron.common.formats.crontab import MAX_VARIABLES, parse
from kuber_cron.common.formats.crontab_lines import MAX_LINE_BYTES
from kuber_cron.common.formats.resolver import MAX_JOBS
from kuber_cron.common.schedule import Schedule, ScheduleError


def found(text):
    """Where and what: (line, code) of each diagnostic."""
    return [(one.line, one.code) for one in parse(text).diagnostics]


def only_job(text, **how):
    parsed = parse(text, **how)
    assert [one for one in parsed.diagnostics if one.severity == "error"] == []
    (job,) = parsed.jobs
    return job


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("A=b c  ", "A", "b c"),
        ("A = 'b c '", "A", "b c "),
        (' A="b\'$HOME"  ', "A", "b'$HOME"),
        ('"A B"=c', "A B", "c"),
        ("'A-B'=\"\"", "A-B", ""),
        ("A=", "A", ""),
        ("A=b # c", "A", "b # c"),
        ("A=b'c'", "A", "b'c'"),
        (r'A="b\n"', "A", r"b\n"),
    ],
)
def test_a_variable_is_quoted_or_runs_to_the_end_of_its_line_less_blanks(line, name, value):
    assert only_job(f"{line}\n0 1 * * * x").env == {name: value}


@pytest.mark.parametrize(
    ("line", "code"),
    [('A="b', "KC202"), ("A='b' c", "KC203"), ("1A=b", "KC201"), ("export A=b", "KC205"), ('"A=b', "KC202")],
)
def test_a_bad_variable_is_one_error_and_the_jobs_below_are_loaded_without_it(line, code):
    parsed = parse(f"{line}\n0 1 * * * x")
    assert [(one.line, one.code) for one in parsed.diagnostics] == [(1, code)]
    assert [job.env for job in parsed.jobs] == [{}]


def test_variables_hold_for_the_jobs_below_them_only():
    jobs = parse("0 1 * * * a\nA=1\n0 1 * * * b\nA=2\n0 1 * * * c").jobs
    assert [job.env for job in jobs] == [{}, {"A": "1"}, {"A": "2"}]


def test_carriage_returns_are_dropped_with_one_warning_a_file():
    parsed = parse("A=b\r\n0 1 * * * x\r\n\r\n0 2 * * * y\r\r\n")
    assert [(one.line, one.code) for one in parsed.diagnostics] == [(1, "KC905")]
    assert [(job.command, job.env) for job in parsed.jobs] == [("x", {"A": "b"}), ("y\r", {"A": "b"})]


def test_a_byte_order_mark_is_dropped_with_a_warning():
    parsed = parse(b"\xef\xbb\xbf0 1 * * * x")
    assert [(one.line, one.severity) for one in parsed.diagnostics] == [(1, "warning")]
    assert [job.schedule for job in parsed.jobs] == ["0 1 * * *"]


@pytest.mark.parametrize(
    "bad", [b"0 1 * * * caf\xe9", b"0 1 * * * x\0y", b"A=\xff", b"# kuber-cron: name=\xff"]
)
def test_bad_utf8_and_nul_are_errors_on_their_line_alone(bad):
    parsed = parse(b"0 1 * * * a\n" + bad + b"\n\n0 2 * * * b\n0 3 * * * c")
    assert (2, "KC115") in [(one.line, one.code) for one in parsed.diagnostics]
    lost = ["b"] if bad.startswith(b"#") else []
    assert [job.command for job in parsed.jobs] == [c for c in "abc" if c not in lost]


def test_an_unreadable_defaults_directive_costs_the_jobs_below():
    assert parse(b"# kuber-cron: defaults queue=\xff\n0 1 * * * a").jobs == []


def test_a_line_ends_at_a_line_feed_only():
    assert only_job("0 1 * * * a\x0bb\x0cc\u2028d").command == "a\x0bb\x0cc\u2028d"


def test_a_comment_has_a_line_of_its_own():
    assert only_job(" \t# 0 1 * * * x\n0 1 * * * y # z").command == "y # z"


def test_a_line_of_the_longest_length_is_read_and_one_byte_more_is_an_error():
    line = "0 1 * * * ".ljust(MAX_LINE_BYTES, "x")
    assert len(only_job(line).command) == MAX_LINE_BYTES - 10
    assert found(line + "x\n0 2 * * * y") == [(1, "KC116")]


def test_a_line_is_measured_in_bytes():
    assert found("0 1 * * * " + "é" * (MAX_LINE_BYTES // 2)) == [(1, "KC116")]


def test_the_last_job_and_the_last_variable_within_the_limits_are_read():
    jobs = "0 1 * * * x\n" * MAX_JOBS
    assert len(parse(jobs).jobs) == MAX_JOBS
    over = parse(jobs + "0 1 * * * y\n0 1 * * * z")
    assert len(over.jobs) == MAX_JOBS
    assert [(one.line, one.code) for one in over.diagnostics] == [(MAX_JOBS + 1, "KC114")]
    names = "".join(f"A{n}=\n" for n in range(MAX_VARIABLES))
    assert found(names + "A0=again") == []
    assert found(names + "B=") == [(MAX_VARIABLES + 1, "KC207")]


@pytest.mark.parametrize(
    ("line", "quiet", "notify", "concurrency", "command"),
    [
        ("-0 1 * * * x", True, "failure,recovery", "allow", "x"),
        ("0 1 * * * -q x -n", True, "failure,recovery", "allow", "x -n"),
        ("0 1 * * * -n -s x", False, "failure", "forbid", "x"),
        ("@daily -s  -q\t-n x", True, "failure", "forbid", "x"),
        ("0 1 * * * -x y", False, "failure,recovery", "allow", "-x y"),
        ("0 1 * * * -nq y", False, "failure,recovery", "allow", "-nq y"),
    ],
)
def test_flags_stand_before_the_command(line, quiet, notify, concurrency, command):
    job = only_job(line)
    assert (job.quiet, job.notify, job.concurrency, job.command) == (quiet, notify, concurrency, command)


def test_the_user_word_is_read_where_the_file_is_declared_so():
    assert only_job("0 1 * * * www -q x").user is None
    job = only_job("0 1 * * * www -q x", system=True)
    assert (job.user, job.quiet, job.command) == ("www", True, "x")
    assert only_job("# kuber-cron: file format=system\n0 1 * * * www x").user == "www"
    assert only_job("# kuber-cron: file format=user\n0 1 * * * www x", system=True).command == "www x"


def test_the_percent_sign_begins_the_input():
    assert [(job.command, job.stdin) for job in parse("@daily a\n@daily a%\n@daily a\\%b%c%d\n").jobs] == [
        ("a", None),
        ("a", ""),
        ("a%b", "c\nd\n"),
    ]


def test_an_id_is_made_of_the_command_and_neither_of_the_line_nor_of_the_schedule():
    command = "A=b /usr/bin/back.up now"
    expected = f"back-up-{hashlib.sha256(command.encode()).hexdigest()[:8]}"
    assert only_job(f"0 1 * * * {command}").id == expected
    assert only_job(f"\n\n@daily {command}").id == expected


def test_equal_ids_are_numbered_in_order():
    first, second, third = (job.id for job in parse("0 1 * * * x\n0 2 * * * x\n0 3 * * * x").jobs)
    assert (second, third) == (f"{first}-2", f"{first}-3")


@pytest.mark.parametrize("comment", ["#Ansible: nightly dump!", "# Name: nightly dump"])
def test_a_comment_of_ansible_or_cronitor_names_the_job_below(comment):
    assert only_job(f"{comment}\n0 1 * * * x").id == "nightly-dump"
    assert parse(f"{comment}\n0 1 * * * x\n0 2 * * * x").jobs[1].id != "nightly-dump-2"


def test_a_name_given_is_the_id():
    assert only_job("# Name: other\n# kuber-cron: name=mine\n0 1 * * * x").id == "mine"


@pytest.mark.parametrize("text", ["@every 90s", "@every\t1h30m", "@reboot", "@after", "@midnight"])
def test_a_nickname_stands_for_the_five_fields(text):
    parsed = parse(
        f"@daily first\n# kuber-cron: after=first\n{text} x\n".replace(
            "@daily", "# kuber-cron: name=first\n@daily"
        )
    )
    assert parsed.diagnostics == []
    assert [(job.schedule, job.command) for job in parsed.jobs][1] == (" ".join(text.split()), "x")


@pytest.mark.parametrize(
    "text", ["@every", "@every 0s x", "@every 8d x", "@every 5 x", "@Daily x", "@every 1m 30s"]
)
def test_a_bad_nickname_is_an_error_on_its_line(text):
    parsed = parse(f"{text}\n0 1 * * * y")
    assert [job.command for job in parsed.jobs] == (["30s", "y"] if text == "@every 1m 30s" else ["y"])
    assert {one.line for one in parsed.diagnostics} == {1}


def test_a_job_without_a_command_is_an_error():
    assert found("0 1 * * *\n@daily \n0 1 * * * %x") == [(1, "KC111"), (2, "KC111"), (3, "KC111")]


def test_a_directive_in_error_costs_its_job_and_no_other():
    parsed = parse("# kuber-cron: retires=3\nA=b\n\n# why\n0 1 * * * a\n0 2 * * * b")
    assert [(one.line, one.code) for one in parsed.diagnostics] == [(1, "KC302"), (5, "KC310")]
    assert [(job.command, job.retries) for job in parsed.jobs] == [("b", 0)]


@pytest.mark.parametrize("scope", ["defaults", "file"])
def test_under_a_defaults_or_file_directive_in_error_no_job_is_loaded(scope):
    parsed = parse(f"# kuber-cron: {scope} retires=3\n0 1 * * * a\n0 2 * * * b")
    assert [one.line for one in parsed.diagnostics] == [1, 2, 3]
    assert parsed.jobs == []


def test_the_jobs_above_a_defaults_directive_in_error_are_loaded():
    assert [job.command for job in parse("0 1 * * * a\n# kuber-cron: defaults x=1\n0 2 * * * b").jobs] == [
        "a"
    ]


def test_no_job_runs_in_a_guessed_zone():
    parsed = parse(
        "CRON_TZ=Mars/Base\n0 1 * * * a\n# kuber-cron: timezone=UTC\n0 1 * * * b\nCRON_TZ=\n0 1 * * * c"
    )
    assert [job.command for job in parsed.jobs] == ["c"]
    assert [one.line for one in parsed.diagnostics] == [1, 2, 4]


def test_a_directive_beats_cron_tz_which_beats_defaults_which_beat_the_file():
    lines = [
        *("# kuber-cron: file timezone=Asia/Tokyo", "@daily a", "# kuber-cron: defaults tz=Europe/Rome"),
        *("@daily b", "CRON_TZ=America/Lima", "@daily c", "# kuber-cron: tz=Asia/Dubai", "@daily d"),
    ]
    zones = [job.timezone for job in parse("\n".join(lines), timezone="UTC").jobs]
    assert zones == ["Asia/Tokyo", "Europe/Rome", "America/Lima", "Asia/Dubai"]


def test_the_jobs_of_a_cycle_and_those_that_wait_for_them_are_not_loaded():
    chain = {"a": "b", "b": "c", "c": "a", "d": "a", "e": "e", "f": "ok", "ok": ""}
    lines = [
        f"# kuber-cron: name={name} after={after}" if after else f"# kuber-cron: name={name}"
        for name, after in chain.items()
    ]
    parsed = parse("".join(f"{line}\n@daily x\n" for line in lines))
    assert [job.id for job in parsed.jobs] == ["f", "ok"]
    assert [(one.line, one.code) for one in parsed.diagnostics] == [
        *((2, "KC312"), (4, "KC312"), (6, "KC312"), (8, "KC309"), (10, "KC312"))
    ]


def test_the_first_holder_of_a_name_stays():
    parsed = parse("# kuber-cron: name=a\n@daily x\n# kuber-cron: name=a\n@daily y")
    assert [job.command for job in parsed.jobs] == ["x"]
    assert [(one.line, one.code) for one in parsed.diagnostics] == [(4, "KC307")]


LINES = st.sampled_from(
    [
        *("0 1 * * * x", "@every 5m y%z", "H ~ L * 5#2 z", "-* * * * * -q w", "@after x", "0 22-6 * * * x"),
        *("A=b", 'CRON_TZ="', "CRON_TZ=Mars", "TZ=UTC", "RANDOM_DELAY=x", "export A=b", "'"),
        *(
            "# kuber-cron: name=a after=b",
            "# kuber-cron: defaults retries=",
            "# kuber-cron: file x",
            "# kubercron: a=b",
        ),
        *(
            "# kuber-cron: not_before=2026-02-30 group=a:b",
            "# kuber-cron: env.A='b",
            "# Name: é",
            "\ufeff",
            "\0",
        ),
    ]
)
FILES = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300),
    st.lists(st.one_of(LINES, st.text("0123456789*/-,~#@LWH \t=\"'%\\", max_size=30)), max_size=12).map(
        "\n".join
    ),
)


@settings(max_examples=150)
@given(FILES, st.booleans())
def test_nothing_in_a_file_makes_it_raise(text, system):
    parsed = parse(text, system=system)
    for one in parsed.diagnostics:
        assert render(one)
        assert 1 <= one.col <= len(one.text) + 1 or len(one.text) >= 1024
    assert [one.line for one in parsed.diagnostics] == sorted(one.line for one in parsed.diagnostics)
    assert len({job.id for job in parsed.jobs}) == len(parsed.jobs)


SCHEDULES = st.one_of(
    st.text(max_size=40),
    st.lists(st.text("0123456789*/-,~#LWHfrimon()?", min_size=1, max_size=6), min_size=5, max_size=5).map(
        " ".join
    ),
    st.text("0123456789dhms", max_size=12).map("@every {}".format),
    st.sampled_from(["*/7 3 * * *", "0 0 L * 5", "H H * * 1-5", "0 0 31 2 *", "59 23 29 2 *", "@every 7m"]),
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Juba"])
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants naive bounds


@settings(max_examples=200)
@given(SCHEDULES, ZONES, INSTANTS)
def test_a_text_is_refused_by_a_schedule_error_or_runs_strictly_later(text, zone, instant):
    try:
        schedule = Schedule.parse(text, zone, "a-job")
    except ScheduleError:
        return
    assert Schedule.parse(schedule.text, zone, "a-job") == schedule
    following = schedule.next_after(instant)
    if schedule.never or schedule.kind in {"reboot", "after"}:
        assert following is None
        return
    if following is not None:
        assert following > instant
        assert following.utcoffset() == timedelta(0)
        # The only run in between is none: every instant up to it has the same answer.
        middle = instant + (following - instant) / 2
        assert schedule.next_after(middle) == following
        assert schedule.next_after(following - timedelta(microseconds=1)) == following


@pytest.mark.parametrize(
    "line",
    [
        *(
            "x\n",
            "0 1 * * * x\n",
            "CRON_TZ=Europe/Berln{}\n",
            "# kuber-cron: retires{}=1\n@daily x\n",
            "a" * 65_536,
        ),
        *(
            "* " * 32_768,
            "%\\" * 32_768,
            "# kuber-cron: " + "a=b " * 16_000,
            '# kuber-cron: a="' + '\\"' * 32_000,
        ),
        *(
            "1," * 32_768 + " * * * * x",
            "# kuber-cron: after=x{}\n@daily y\n",
            "@every 1{}x y\n",
            "*5{} * * * * x\n",
        ),
    ],
    ids=range(13),
)
def test_64_kib_of_anything_are_read_in_a_blink(line):
    text = "".join(line.format(n) if "{}" in line else line for n in range(65_536 // len(line)))[:65_536]
    parse(text[:1000])
    begun = time.process_time()
    parse(text)
    assert time.process_time() - begun < 0.75, "three times the 250 ms of cron.md, for a machine that is busy"


@settings(max_examples=100)
@given(SCHEDULES)
def test_the_place_of_a_mistake_lies_within_its_text(text):
    for one in parse(f"{text.replace(chr(10), '')} x").diagnostics:
        assert one.message
        assert 1 <= one.col <= len(one.text) + 1


@pytest.mark.parametrize("name", ["CEST", "PDT", "BST", "IST"])
def test_an_abbreviation_is_not_taken_for_another_zone(name):
    (error,) = parse(f"CRON_TZ={name}").diagnostics
    assert error.hint == "use an IANA name, such as 'Europe/Berlin' or 'UTC'"


def test_a_schedule_that_begins_with_seconds_is_told_of_five_fields():
    (error,) = parse("0 30 2 * * * 2026 x").diagnostics
    assert error.about == "hour"
    assert error.hint == "a schedule has five fields, minutes first; seconds are written @every 30s"


def test_a_quiet_sign_that_stands_alone_is_told_where_it_belongs():
    (error,) = parse("- 0 6 * * * x").diagnostics
    assert error.hint == "write the - for quiet without a blank behind it"
