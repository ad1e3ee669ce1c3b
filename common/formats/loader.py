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
    """A path cannot be read at all."""

    code = "no-such-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The content of job files.

    Attributes:
        jobs: All good jobs, in name order of their files and file order within.
        diagnostics: Everything wrong, in the same order.
        files: The files that were read, as the user would name them.
    """

    jobs: list[Job]
    diagnostics: list[Diagnostic]
    files: list[str]


# A file whose size and times have not changed over so many polls is taken as unchanged without reading it...
_POLLS_UNTIL_TRUSTED = 3
# ... but is read every so many polls anyway: a change that leaves the times alone is unlikely, and not impossible.
_POLLS_UNTIL_READ_AGAIN = 60


class FileCache:
    """The files of one process as last read: digests by size and times, and parsed files by digest.

    A file is kept only where nothing is wrong with it, because relations between jobs add to what is wrong.
    """

    def __init__(self) -> None:
        self._digests: dict[Path, tuple[tuple[int, ...], bytes, int]] = {}
        self._parsed: dict[Path, tuple[bytes, list[ParsedJob]]] = {}

    def digest(self, path: Path) -> bytes:
        """Return the sha256 of the file's content, or of why it cannot be read."""
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
        known, digest, polls = self._digests.get(path, ((), b"", 0))
        polls = polls + 1 if times and known == times else 0
        if polls < _POLLS_UNTIL_TRUSTED or polls % _POLLS_UNTIL_READ_AGAIN == 0:
            before, digest = digest, _digest(_content(path))
            polls = polls if digest == before else 0
        self._digests[path] = times, digest, polls
        return digest

    def parsed(self, path: Path, digest: bytes) -> ParsedFile | None:
        """Return the parsed file of this content, or None."""
        known, jobs = self._parsed.get(path, (b"", []))
        return ParsedFile(source=str(path), jobs=jobs) if known == digest else None

    def keep(self, path: Path, digest: bytes, file: ParsedFile) -> None:
        """Keep a parsed file, or forget it where something is wrong with it."""
        if file.diagnostics or file.lost:
            self._parsed.pop(path, None)
        else:
            self._parsed[path] = digest, file.jobs

    def forget_all_but(self, paths: Sequence[Path]) -> None:
        """Forget the files that are not among ``paths``."""
        for gone in self._digests.keys() - set(paths):
            del self._digests[gone]
        for gone in self._parsed.keys() - set(paths):
            del self._parsed[gone]


def load(
    paths: Sequence[str | Path],
    *,
    system: bool = False,
    timezone: str = "UTC",
    cache: FileCache | None = None,
) -> Loaded:
    """Read files and directories; return their jobs, which get their ids over all of them.

    Args:
        paths: Files, or directories of them.
        system: Crontabs have a user's name before the command.
        timezone: The zone of jobs that name none.
        cache: That of earlier loads with the same ``system`` and ``timezone``.

    Raises:
        SourceError: A path does not exist, or is neither a file nor a directory.
        ScheduleError: There is no such ``timezone``.
    """
    files = list(_files(paths))
    parsed_files = [_read(path, system=system, timezone=timezone, cache=cache) for path in files]
    parsed = link(parsed_files)
    return Loaded(jobs=parsed.jobs, diagnostics=parsed.diagnostics, files=[str(path) for path in files])


def read(content: bytes, source: str, *, system: bool = False, timezone: str = "UTC") -> Loaded:
    """Return the jobs of ``content``, whose format is told by how it begins.

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
    """Yield names and contents of files, of directories those with one of the suffixes, in name order.

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


def fingerprint(paths: Sequence[str | Path], cache: FileCache | None = None) -> str:
    """Return the sha256 over names and contents of what ``load`` would read: equal while nothing has changed.

    A path that cannot be read counts with its error, so that its return is a change too.
    """
    digest = hashlib.sha256()
    try:
        files = list(_files(paths))
    except SourceError as error:
        return hashlib.sha256(str(error).encode()).hexdigest()
    if cache is not None:
        cache.forget_all_but(files)
    for path in files:
        digest.update(f"{path}\0".encode("utf-8", "surrogateescape"))
        digest.update(_digest(_content(path)) if cache is None else cache.digest(path))
    return digest.hexdigest()


def is_blank(path: Path) -> bool:
    """Return True where ``path`` holds no byte: a directory without job files, or with empty ones, or an empty file."""
    try:
        return all(file.stat().st_size == 0 for file in _files([path]))
    except (SourceError, OSError):
        return False  # that it cannot be read is said elsewhere


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


def _read(path: Path, *, system: bool, timezone: str, cache: FileCache | None) -> ParsedFile:
    content = _content(path)
    digest = _digest(content)
    if cache is not None and (known := cache.parsed(path, digest)):
        return known
    if isinstance(content, Fault):
        unreadable = ParsedFile(source=str(path))
        unreadable.report(content, 1, "")
        return unreadable
    reader = registry.reader_of_suffix(path.suffix)
    read_now = reader(content, str(path), system=system, timezone=timezone)
    if cache is not None:
        cache.keep(path, digest, read_now)
    return read_now
