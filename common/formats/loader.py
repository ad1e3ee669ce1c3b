"""Sources: the files and directories that jobs are read from (spec: cron.md §4).

A directory is read in name order and not recursively; names that begin with ``.`` (a ConfigMap's ``..data``)
or end in ``~`` are passed over. ``.yaml`` and ``.yml`` are YAML, all else is a crontab. Ids, names and
predecessors are settled over all files together.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kuber_cron.common.diagnostics import Diagnostic, Fault
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.formats import registry
from kuber_cron.common.formats.resolver import ParsedFile, ParsedJob, link
from kuber_cron.common.jobs.job import Job

# A ConfigMap holds at most 1 MiB; a file beyond this is not a job file but a mistake.
MAX_FILE_BYTES = 32 * 1024 * 1024


class SourceError(KuberCronError):
    """A path that was named cannot be read at all."""

    code = "no-such-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the sources hold.

    Attributes:
        jobs: All good jobs, in name order of their files and file order within.
        diagnostics: Everything wrong, in the same order.
        files: The files that were read, as the user would name them.
    """

    jobs: list[Job]
    diagnostics: list[Diagnostic]
    files: list[str]


# A file whose size and times are as they were at so many looks at its content is not read again...
_LOOKS = 3
# ... but every so many looks: what changes a file without its times is not to be believed in, and not impossible.
_AGAIN = 60


class FileCache:
    """What one process remembers of its files from look to look: contents by their times, and drafts by content.

    Only files with nothing wrong in them are remembered as drafts, for relations between jobs add to what is wrong.
    """

    def __init__(self) -> None:
        self._digests: dict[Path, tuple[tuple[int, ...], bytes, int]] = {}
        self._drafts: dict[Path, tuple[bytes, list[ParsedJob]]] = {}

    def digest(self, path: Path) -> bytes:
        """The sha256 of the file's content, or of why it cannot be read."""
        try:
            found = path.stat()
            times: tuple[int, ...] = (
                found.st_dev,
                found.st_ino,
                found.st_size,
                found.st_mtime_ns,
                found.st_ctime_ns,
            )
        except OSError:
            times = ()
        known, digest, looks = self._digests.get(path, ((), b"", 0))
        looks = looks + 1 if times and known == times else 0
        if looks < _LOOKS or looks % _AGAIN == 0:
            before, digest = digest, _digest(_content(path))
            looks = looks if digest == before else 0
        self._digests[path] = times, digest, looks
        return digest

    def drafts(self, path: Path, digest: bytes) -> ParsedFile | None:
        """The file as it was read when it had this content."""
        known, drafts = self._drafts.get(path, (b"", []))
        return ParsedFile(source=str(path), drafts=drafts) if known == digest else None

    def keep(self, path: Path, digest: bytes, file: ParsedFile) -> None:
        """The file reads so."""
        if file.diagnostics or file.lost:
            self._drafts.pop(path, None)
        else:
            self._drafts[path] = digest, file.drafts

    def forget_all_but(self, paths: Sequence[Path]) -> None:
        """Only these files exist."""
        for gone in self._digests.keys() - set(paths):
            del self._digests[gone]
        for gone in self._drafts.keys() - set(paths):
            del self._drafts[gone]


def load(
    paths: Sequence[str | Path],
    *,
    system: bool = False,
    timezone: str = "UTC",
    memory: FileCache | None = None,
) -> Loaded:
    """Read files and directories; jobs get their ids over all of them.

    Args:
        paths: Files, or directories of them.
        system: Crontabs have a user's name before the command.
        timezone: The zone of jobs that name none.
        memory: Of earlier loads with the same ``system`` and ``timezone``.

    Raises:
        SourceError: A path does not exist, or is neither a file nor a directory.
        ScheduleError: There is no such ``timezone``.
    """
    files = list(_files(paths))
    drafts = [_read(path, system=system, timezone=timezone, memory=memory) for path in files]
    parsed = link(drafts)
    return Loaded(jobs=parsed.jobs, diagnostics=parsed.diagnostics, files=[str(path) for path in files])


def read(content: bytes, source: str, *, system: bool = False, timezone: str = "UTC") -> Loaded:
    """What `content` holds, which has no name to tell its language by: YAML where it begins like YAML.

    Args:
        content: A crontab or a YAML file.
        source: What diagnostics call it.
        system: A crontab has a user's name before the command.
        timezone: The zone of jobs that name none.

    Raises:
        ScheduleError: There is no such ``timezone``.
    """
    file = registry.reader_of_content(content)(content, source, system=system, timezone=timezone)
    parsed = link([file])
    return Loaded(jobs=parsed.jobs, diagnostics=parsed.diagnostics, files=[source])


def contents(
    paths: Sequence[str | Path], *, suffixes: Sequence[str], recursive: bool = False
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files, of directories those with one of the suffixes, in name order.

    Raises:
        SourceError: A path does not exist, or a file cannot be read.
    """
    for path in map(Path, paths):
        found = _files([path])
        if path.is_dir():
            every = _below(path) if recursive else found
            found = (each for each in every if each.suffix.lower() in suffixes)
        for each in found:
            content = _content(each)
            if isinstance(content, Fault):
                raise SourceError(f"{each}: {content.message}", hint=content.hint or "check its permissions")
            yield str(each), content


def _below(path: Path) -> Iterator[Path]:
    for entry in sorted(path.rglob("*")):
        if not any(part.startswith(".") for part in entry.relative_to(path).parts) and entry.is_file():
            yield entry


def fingerprint(paths: Sequence[str | Path], memory: FileCache | None = None) -> str:
    """The sha256 over the names and contents of what ``load`` would read: equal while nothing has changed.

    A path that cannot be read counts as it is told, so that its return is a change too.
    """
    digest = hashlib.sha256()
    try:
        files = list(_files(paths))
    except SourceError as error:
        return hashlib.sha256(str(error).encode()).hexdigest()
    if memory is not None:
        memory.forget_all_but(files)
    for path in files:
        digest.update(f"{path}\0".encode("utf-8", "surrogateescape"))
        digest.update(_digest(_content(path)) if memory is None else memory.digest(path))
    return digest.hexdigest()


def _digest(content: bytes | Fault) -> bytes:
    body = content if isinstance(content, bytes) else content.message.encode()
    return hashlib.sha256(body).digest()


def _files(paths: Sequence[str | Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from _directory(path)
        elif path.exists():
            yield path
        else:
            raise SourceError(
                f"{path} does not exist", hint="name a crontab, a YAML file, or a directory of them"
            )


def _directory(path: Path) -> Iterator[Path]:
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise SourceError(
            f"{path} cannot be listed: {error.strerror}", hint="check its permissions"
        ) from error
    for entry in entries:
        if not entry.name.startswith(".") and not entry.name.endswith("~") and entry.is_file():
            yield entry


def _content(path: Path) -> bytes | Fault:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return Fault(
            code="KC117", message=f"the file cannot be read: {error.strerror or error}", about="line"
        )
    if len(body) > MAX_FILE_BYTES:
        return Fault(
            code="KC117",
            message=f"the file is larger than {MAX_FILE_BYTES // 2**20} MiB",
            hint="a job file names commands; keep data elsewhere",
            about="line",
        )
    return body


def _read(path: Path, *, system: bool, timezone: str, memory: FileCache | None) -> ParsedFile:
    content = _content(path)
    digest = _digest(content)
    if memory is not None and (known := memory.drafts(path, digest)):
        return known
    if isinstance(content, Fault):
        draft = ParsedFile(source=str(path))
        draft.report(content, 1, "")
        return draft
    reader = registry.reader_of_suffix(path.suffix)
    read_now = reader(content, str(path), system=system, timezone=timezone)
    if memory is not None:
        memory.keep(path, digest, read_now)
    return read_now
