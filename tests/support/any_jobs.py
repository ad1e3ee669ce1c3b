"""Jobs of every kind that both forms of job files can say, for laws."""

from datetime import UTC

from hypothesis import strategies as st

from kuber_cron.common.jobs.job import Job

# Texts with everything that quoting trips over; a NUL and half characters are in no file.
TEXTS = st.text(
    st.sampled_from("ab %\\\"'=#:$-\t\r\x85\u2028é🙂") | st.characters(codec="utf-8"), max_size=12
).map(lambda text: text.replace("\0", "").replace("\n", "").replace("\ufeff", ""))
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,8}[A-Za-z0-9])?", fullmatch=True)
DURATIONS = st.integers(1, 10_000_000).map(float)
CODES = st.lists(st.integers(0, 255), min_size=1, max_size=5, unique=True)
ENV = st.dictionaries(st.sampled_from(["MODE", "PATH", "HOME", "MAILTO", "TZ", "_"]), TEXTS, max_size=3)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"]),
        "quiet": st.booleans(),
        "cwd": TEXTS.filter(bool),
        "retries": st.integers(0, 999),
        "retry_delay": DURATIONS,
        "retry_backoff": st.integers(1_000_000, 10**9).map(lambda millionths: millionths / 10**6),
        "retry_jitter": st.integers(0, 10**6).map(lambda millionths: millionths / 10**6),
        "retry_on": CODES.map(lambda codes: [*codes, "signal"]),
        "success_codes": CODES,
        "timeout": st.none() | DURATIONS,
        "deadline": st.none() | DURATIONS,
        "catchup": st.sampled_from(["none", "last", "all"]),
        "concurrency": st.sampled_from(["allow", "forbid", "replace", "queue"]),
        "group": NAMES,
        "not_before": st.datetimes(timezones=st.just(UTC)),
        "queue": NAMES,
        "umask": st.sampled_from(["022", "0077"]),
        "memory": st.integers(1, 2**62),
        "nice": st.integers(-20, 19),
        "suspend": st.booleans(),
        "description": TEXTS,
        "notify": st.sampled_from(["failure", "never", "failure,missed"]),
    },
)
# A command that starts with a word, and without the lone backslash that no crontab can say.
COMMANDS = TEXTS.map(lambda text: "make " + text.replace("\\", "\\\\"))
INPUTS = st.none() | st.lists(TEXTS.map(lambda text: text.replace("\\", "/") + "\n"), max_size=3).map("".join)


@st.composite
def job_lists(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    return [
        Job(
            id=name,
            schedule=draw(st.sampled_from(["30 2 * * *", "@daily", "@every 90s", "H 0-6/2 * jan-mar 1L"])),
            command=draw(COMMANDS),
            stdin=draw(INPUTS),
            env=draw(ENV),
            after=names[:place],
            **draw(POLICIES),
        )
        for place, name in enumerate(names)
    ]
