"""The metrics of a process: its own, and CPU time counted once."""

import subprocess
import sys

import psutil
import pytest
from prometheus_client import Gauge
from tests.support.clocks import SteppedClock

from kuber_cron.common.observability.process_metrics import CpuCollector, make_registry


def test_two_registries_of_one_process_do_not_know_of_each_other():
    first, second = make_registry(), make_registry()
    Gauge("cron_only_here", "Only here.", registry=first)
    names = {family.name for family in second.collect()}
    assert "cron_only_here" not in names
    assert {"cron_cpu_usage_percent", "python_info", "python_gc_collections"} <= names


def percent(collector):
    (family,) = collector.collect()
    return family.samples[0].value


BURN = "import os, sys\nwhile sum(os.times()[:2]) < 0.5: pass\nprint(flush=True)\nsys.stdin.read()"


@pytest.mark.skipif(
    not hasattr(psutil.Process(), "cpu_affinity"), reason="macOS does not tell of ended children"
)
def test_cpu_usage_counts_running_children_and_counts_them_once_when_they_end():
    clock = SteppedClock()
    collector = CpuCollector(clock)
    command = [sys.executable, "-c", BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        clock.advance(1)
        assert 45 <= percent(collector) < 150  # half a second of the child's in one second of the clock
    clock.advance(1)
    assert percent(collector) < 40  # not once more by its end
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    clock.advance(1)
    assert 45 <= percent(collector) < 150  # one that came and went between two looks


def test_a_second_scraper_within_a_second_sees_the_same_cpu_usage():
    clock = SteppedClock()
    collector = CpuCollector(clock)
    clock.advance(5)
    first = percent(collector)
    clock.advance(0.5)
    assert percent(collector) == first
