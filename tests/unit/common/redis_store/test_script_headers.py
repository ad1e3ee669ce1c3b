"""Each script requires exactly the parts of the library that it uses, and says what a repetition does."""

import re
from importlib import resources

import pytest

from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import required_by, script_text

FOLDER = resources.files("kuber_cron.common.redis_store.lua")
SCRIPTS = {
    path.name.removesuffix(".lua"): path.read_text()
    for path in FOLDER.iterdir()
    if path.name.endswith(".lua")
}
LIBRARY = {path.name.removesuffix(".lua"): path.read_text() for path in (FOLDER / "lib").iterdir()}
FILES = [*(("script", name) for name in sorted(SCRIPTS)), *(("lib", name) for name in sorted(LIBRARY))]
NAME = r"[A-Za-z_]\w*"
# Lua permits 200 locals a function and 60 upvalues a closure; a joined text is one function.
MOST_LOCALS = 150


def code(text: str) -> str:
    """The text without comments and strings."""
    return re.sub(r"'(?:\\.|[^'\\\n])*'", "''", re.sub(r"--[^\n]*", "", text))


def names(words: str) -> set[str]:
    return {word.strip() for word in words.split(",")} - {""}


def top_level(text: str) -> set[str]:
    """What the text defines for those who require it."""
    return {
        name
        for words in re.findall(rf"^local (?:function )?({NAME}(?:, {NAME})*)", code(text), re.MULTILINE)
        for name in names(words)
    }


def declared(text: str) -> set[str]:
    """Every name that the text declares, at whatever depth."""
    found = code(text)
    groups = re.findall(rf"\blocal (?:function )?({NAME}(?:, {NAME})*)", found)
    groups += re.findall(r"\bfunction ?[\w.]*\(([^)]*)\)", found)
    groups += re.findall(rf"\bfor ({NAME}(?:, {NAME})*)", found)
    return set().union(*map(names, groups))


def used(text: str) -> set[str]:
    """The names that the text takes from elsewhere."""
    return set(re.findall(rf"(?<![\w.:])({NAME})", code(text))) - declared(text)


HOMES = {name: part for part, text in LIBRARY.items() for name in top_level(text)}


def text_of(kind: str, name: str) -> str:
    return (SCRIPTS if kind == "script" else LIBRARY)[name]


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_header_requires_exactly_what_its_text_uses(kind, name):
    text = text_of(kind, name)
    assert sorted(required_by(text)) == sorted({HOMES[word] for word in used(text) if word in HOMES})


def test_no_two_parts_define_the_same_name():
    assert sum(len(top_level(text)) for text in LIBRARY.values()) == len(HOMES)


def test_every_part_of_the_library_is_required_by_something():
    required = {part for texts in (SCRIPTS, LIBRARY) for text in texts.values() for part in required_by(text)}
    assert required == LIBRARY.keys()


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_what_is_joined_stands_after_what_it_requires_and_once(name):
    joined = script_text(name)
    places = {part: joined.find(text) for part, text in LIBRARY.items() if text in joined}
    assert all(joined.count(LIBRARY[part]) == 1 for part in places)
    for part, place in places.items():
        assert all(places[required] < place for required in required_by(LIBRARY[part]))
    assert joined.endswith(SCRIPTS[name])


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_joined_script_stays_far_from_luas_limit_of_locals(name):
    assert len(re.findall(r"^local ", script_text(name), re.MULTILINE)) < MOST_LOCALS


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_header_says_what_a_repetition_does(name):
    header = re.match(r"(?:--.*\n)+", SCRIPTS[name])
    assert header is not None
    assert re.search(r"[Rr]epeated|Reads only", header[0])


# Commands that read all of a key, by the file that may: what they read there has a bound of its own.
READS_ALL = {
    ("quarantine_action", "XRANGE"): "a stream of a thousand records",
    ("manual_request", "LRANGE"): "an item for each run of a request: a thousand",
    ("unmake", "HKEYS"): "the gates of a run that this very call has made",
}


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_no_script_reads_the_whole_of_a_key_that_may_have_any_size(kind, name):
    if name in {"check_permissions", "reap_lost_attempts"}:
        return  # the first reads its own probes; the second reads what workers run: its caller bounds that
    text = text_of(kind, name)
    found = set(re.findall(r"p?call\('(SMEMBERS|HGETALL|HKEYS|HVALS|KEYS)'", text))
    found |= set(re.findall(r"p?call\('(LRANGE|ZRANGE|ZREVRANGE)',[^)]*, 0, -1\)", text))
    found |= set(re.findall(r"p?call\('(XRANGE|XREVRANGE)',(?![^)]*'COUNT')", text))
    found |= set(re.findall(r"p?call\('(ZRANGEBYSCORE|ZREVRANGEBYSCORE)',(?!.*'LIMIT')", text))
    assert {command for command in found if (name, command) not in READS_ALL} == set()


def test_scripts_and_python_spell_the_same_keys():
    spelt = {
        found
        for text in (*SCRIPTS.values(), *LIBRARY.values())
        for found in re.findall(r"K \.\. '([a-z]+):?'", text)
    }
    keys = Keys("")
    known = set()
    for name in dir(Keys):
        if not name.startswith("_") and name not in {"prefix", "of", "instance", "registry"}:
            found = getattr(keys, name)
            known.add(found if isinstance(found, str) else found("") if "name" not in name else "")
    assert {f":kuber-cron:{name}" for name in spelt - {"shape"}} <= {key.removesuffix(":") for key in known}
