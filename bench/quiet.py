"""How much of the machine somebody else used while something was measured (Linux; elsewhere: unknown, 0)."""

from __future__ import annotations

import os
import time
from pathlib import Path

LIMIT = 0.04
"""Above this share of all cores a measurement counts as disturbed."""


def _busy_seconds() -> float:
    """Processor seconds used on all cores so far, those stolen by the hypervisor included."""
    try:
        fields = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Bystanders:
    """Watches from its making until `share` is asked."""

    def __init__(self) -> None:
        self._busy, self._began = _busy_seconds(), time.perf_counter()

    def share(self, own_seconds: float) -> float:
        """Others' part of all cores since then; `own_seconds` of processor time were the measurement's."""
        passed = (time.perf_counter() - self._began) * (os.cpu_count() or 1)
        return max(0.0, (_busy_seconds() - self._busy - own_seconds) / max(passed, 1e-9))


def wait_for_quiet(patience_s: float) -> float:
    """Return once the machine is idle for a third of a second, or patience ends; the seconds waited."""
    began = time.perf_counter()
    while True:
        watch = Bystanders()
        time.sleep(0.3)
        waited = time.perf_counter() - began
        if watch.share(0.0) < LIMIT or waited > patience_s:
            return waited
