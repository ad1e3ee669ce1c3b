"""The option types of texts: names and lists of them, paths, URLs, plain text."""

import re

from kuber_cron.common.jobs.option_types import BadValueError, ValueType, list_schema

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", re.ASCII)
_GROUP = re.compile(r"([^:]*)(?::(\d{1,9}))?", re.ASCII)
_URL = re.compile(r"https?://[^\s/?#]+[^\s]*", re.ASCII)
_LONGEST_URL = 2048
_EVENTS = ("failure", "recovery", "missed", "always", "never")


def _text(title: str, *, may_be_empty: bool = False, blanks: bool = True) -> ValueType:
    def parse(text: str) -> str:
        if not text and not may_be_empty:
            raise BadValueError("is empty", "leave the option out, or give it a value")
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            raise BadValueError("holds a NUL or half a character")
        # A crontab's blanks alone: what its user word may hold, an option must be able to say.
        if not blanks and any(char in " \t\n" for char in text):
            raise BadValueError("holds a blank")
        return text

    return ValueType(
        title=title, parse=parse, schema={"type": "string", "minLength": 0 if may_be_empty else 1}
    )


def _parse_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise BadValueError(
            "is not a name", "use letters, digits, '_' or '-', at most 63, a letter or digit at both ends"
        )
    return text


def _parse_group(text: str) -> str:
    found = _GROUP.fullmatch(text)
    if found is None or not NAME.fullmatch(found[1]) or (found[2] is not None and int(found[2]) < 1):
        raise BadValueError("is not a group", "write a name, or name:N for at most N runs at once")
    return text if found[2] is None else f"{found[1]}:{int(found[2])}"


def _parse_names(text: str) -> list[str]:
    names: dict[str, None] = {}
    for item in text.split(","):
        names[_parse_name(item.strip(" \t"))] = None
    return list(names)


def _parse_notify(text: str) -> str:
    words: dict[str, None] = {}
    for item in text.split(","):
        word = item.strip(" \t")
        if word not in _EVENTS:
            raise BadValueError(f"must be a list of {', '.join(_EVENTS)}", words=_EVENTS)
        words[word] = None
    if "never" in words and len(words) > 1:
        raise BadValueError("says never, and something else as well", "write notify=never")
    return ",".join(words)


def _parse_url(text: str) -> str:
    if len(text) > _LONGEST_URL or not _URL.fullmatch(text):
        raise BadValueError("is not a URL", "write http://… or https://…, at most 2048 characters")
    return text


name = ValueType(title="name", parse=_parse_name, schema={"type": "string", "pattern": f"^{NAME.pattern}$"})
group = ValueType(
    title="name or name:N",
    parse=_parse_group,
    schema={"type": "string", "pattern": f"^{NAME.pattern}(:[0-9]+)?$"},
)
names = ValueType(
    title="name[,name]",
    parse=_parse_names,
    write=",".join,
    plural=True,
    schema=list_schema({"type": "string"}),
)
notify = ValueType(
    title=f"list of {', '.join(_EVENTS)}",
    parse=_parse_notify,
    plural=True,
    schema=list_schema({"type": "string"}),
)
url = ValueType(
    title="URL", parse=_parse_url, schema={"type": "string", "pattern": "^https?://", "maxLength": 2048}
)
text = _text("string", may_be_empty=True)
path = _text("string")
word = _text("string", blanks=False)
