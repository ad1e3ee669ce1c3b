"""The jobs that the state machine plays with."""

from tests.models.world import job

# A few jobs at a time, so that what they do to each other happens often.
CASTS = {
    "overlap": [
        job("plain", retries=1),
        job("forbid", concurrency="forbid", retries=1),
        job("replace", concurrency="replace", retries=1, max_lost=1),
        job("line", concurrency="queue", max_running=2, deadline=None),
    ],
    "groups": [
        job("solo-a", group="one:1", retries=1),
        job("solo-b", group="one:1", concurrency="queue", queue="other"),
        job("duo-a", group="two:2", max_lost=0),
        job("duo-b", group="two:2", concurrency="replace", retries=1),
        job("duo-c", group="two:2", priority="high"),
    ],
    "chains": [
        job("a", retries=1),
        job("x", "*/2 * * * *", concurrency="forbid", queue="other"),
        job("b", "@after", after=["a"]),
        job("c", "@after", after=["b"]),
        job("join", after=["a", "x"], deadline=30 * 86400.0),
    ],
    "chains that overlap": [
        job("a", concurrency="replace", retries=1),
        job("b", "@after", after=["a"], concurrency="queue", group="one:1", max_running=1),
        job("c", "@after", after=["b", "a"], concurrency="replace", group="one:1"),
        job("d", "*/3 * * * *", after=["c"], concurrency="forbid", on_remove="cancel"),
    ],
    "removals and deadlines": [
        job("gone", concurrency="queue", on_remove="cancel", max_running=3),
        job("late", concurrency="queue", deadline=600.0, max_running=3),
        job("stays", "*/2 * * * *", group="one:1", on_remove="run"),
        job("after", "@after", after=["late"], group="one:1", on_remove="cancel"),
    ],
}
MINUTES = {"*/2 * * * *": 2, "*/3 * * * *": 3}
