"""The channel ``slack``: what Slack's incoming webhooks take; Mattermost, Rocket.Chat and Discord's ``/slack`` do too. Pure."""

from typing import Any

from kuber_cron.common.notifications.events import Event, EventKind, Missed, RunEnded, end_of, iso, summary

_OUTPUT_LIMIT = 2500  # Slack cuts an attachment's text at 3000, the code block's end with it
_COLOURS: dict[EventKind, str] = {
    "failure": "danger",
    "recovery": "good",
    "success": "good",
    "ended": "#888888",
    "missed": "warning",
}


def document(event: Event, instance: str) -> dict[str, Any]:
    """Return the event as a message with one attachment."""
    sentence = _escaped(summary(event))
    attachment: dict[str, Any] = {
        "color": _COLOURS[event.kind],
        "fallback": sentence,
        "fields": [
            {"title": title, "value": _escaped(value), "short": True}
            for title, value in _fields(event, instance)
            if value
        ],
        "mrkdwn_in": ["text"],
    }
    if isinstance(event, RunEnded) and event.output.strip():
        shown = end_of(event.output.strip("\n"), _OUTPUT_LIMIT).replace("```", "'''")
        attachment["text"] = f"```\n{_escaped(shown)}\n```"
    return {"text": sentence, "attachments": [attachment]}


def _fields(event: Event, instance: str) -> list[tuple[str, str | None]]:
    fields: list[tuple[str, str | None]]
    if isinstance(event, Missed):
        fields = [("First", iso(event.first_at)), ("Last", iso(event.last_at))]
    else:
        seconds = event.duration_seconds
        fields = [
            ("Run", event.run),
            ("Attempt", str(event.attempt)),
            ("Duration", None if seconds is None else f"{seconds:.1f} s"),
            ("Worker", event.worker),
        ]
    return [*fields, ("Team", event.team), ("Instance", instance), ("Description", event.description)]


def _escaped(text: str) -> str:
    """Escape Slack's three characters: everything else is text, so no output can make a link or call a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
