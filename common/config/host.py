"""Facts about the host: whether this is a pod, its namespace, and the CPUs that this process may use."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_SERVICE_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The facts that defaults of settings are made from.

    Attributes:
        pod: In a pod that has a service account token, so that the API server can be asked.
        namespace: The pod's namespace, or None.
        cpus: CPUs that this process may use, fractions included: the cgroup's quota, else the count.
    """

    pod: bool = False
    namespace: str | None = None
    cpus: float = 1.0

    @classmethod
    def read(cls, environ: Mapping[str, str], root: Path = Path("/")) -> "Host":
        """Return the facts of this machine; ``root`` is another tree for tests."""
        account = root / _SERVICE_ACCOUNT
        namespace = _text(account / "namespace")
        return cls(
            pod=bool(environ.get("KUBERNETES_SERVICE_HOST")) and (account / "token").exists(),
            namespace=namespace or None,
            cpus=cpu_quota(root) or float(_cpu_count()),
        )


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the CPUs that the control group grants, or None without a limit.

    The smallest quota on the way from this process' group to the root counts (cgroup v2's ``cpu.max``, v1's
    ``cpu.cfs_quota_us``); the kernel holds a process to every one of them.
    """
    quotas = [quota for folder in _groups(root) if (quota := _v2(folder) or _v1(folder))]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders that may limit this process, in either hierarchy, own group first."""
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        # hierarchy:controllers:path, "0::/path" in v2 (man 7 cgroups)
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        inside = PurePosixPath(path.lstrip("/"))
        # In a container the path may be the host's, which is not mounted here: the mount's root then counts.
        for group in (inside, *inside.parents):
            for hierarchy in (controllers, "cpu") if controllers else ("",):
                yield mount / hierarchy / group


def _v2(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _v1(folder: Path) -> float | None:
    return _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """Return quota per period in CPUs; None for ``max``, -1, and what is not a number."""
    try:
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpu_count() -> int:
    """Return the number of CPUs that the kernel may put this process on; macOS knows no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
