"""What the machine says of itself, read from made-up file trees."""

from pathlib import Path

import pytest

from kuber_cron.common.config.host import Host, cpu_quota


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, None),
        # Under a host's own hierarchy the smallest quota on the way to the root counts.
        (
            {
                "proc/self/cgroup": "0::/system.slice/cron.service\n",
                "sys/fs/cgroup/system.slice/cron.service/cpu.max": "800000 100000\n",
                "sys/fs/cgroup/system.slice/cpu.max": "200000 100000\n",
            },
            2.0,
        ),
        # A container that sees the host's path: only the mount's root is there.
        ({"proc/self/cgroup": "0::/kubepods/pod1/c1\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        (
            {
                "proc/self/cgroup": "5:memory:/\n4:cpu,cpuacct:/docker/abc\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_the_cpu_quota(tmp_path, files, quota):
    assert cpu_quota(tree(tmp_path, files)) == quota


def test_without_a_quota_the_cpus_count(tmp_path):
    assert Host.read({}, tmp_path).cpus >= 1


ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"


def test_a_pod_is_one_that_may_ask_the_api_server(tmp_path):
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    assert not Host.read(environ, tmp_path).pod  # automountServiceAccountToken: false
    tree(tmp_path, {f"{ACCOUNT}/token": "x", f"{ACCOUNT}/namespace": "jobs"})
    assert Host.read(environ, tmp_path).pod
    assert Host.read(environ, tmp_path).namespace == "jobs"
    assert not Host.read({}, tmp_path).pod
