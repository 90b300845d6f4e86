"""The settings of bench/memory.py, without training any: they are what they say, and large enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whet.memory.training import PROCESS

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    import memory

    return memory


def test_settings_are_different_and_large_enough(memory: Any) -> None:
    assert len({setting.name for setting in memory.SETTINGS}) == len(memory.SETTINGS) >= 20
    for setting in memory.SETTINGS:
        plan = memory.planned(setting, "cpu")
        assert plan["planned_bytes"] >= memory.LEAST_BYTES, setting.name
        assert 0 < plan["planned_held_bytes"] < plan["planned_bytes"]
        assert memory.planned(setting, "cuda")["planned_bytes"] > 0


def test_settings_vary_what_matters(memory: Any) -> None:
    for name in (
        "family",
        "quantization",
        "precision",
        "optimizer",
        "checkpointing",
        "rank",
        "targets",
        "length",
        "batch",
    ):
        assert len({getattr(setting, name) for setting in memory.SETTINGS}) > 1, name
    assert {setting.quantization for setting in memory.SETTINGS} == {"none", "nf4", "fp4", "int8"}


@pytest.mark.parametrize(
    ("share", "within"), [(1.099, True), (1.11, False), (0.951, True), (0.94, False), (1.0, True)]
)
def test_the_bar(memory: Any, share: float, within: bool) -> None:
    setting = memory.SETTINGS[0]
    measured = round(memory.planned(setting, "cpu")["planned_bytes"] / share)
    assert memory.compared(setting, {"measured_bytes": measured}, "cpu")["within"] is within


def test_committed_results_hold_the_bar(memory: Any) -> None:
    """What docs/plan.md says is what was measured, and the plan still says the same of it."""
    found = json.loads((BENCH / "results/memory.json").read_text("utf-8"))["results"]
    by_name = {setting.name: setting for setting in memory.SETTINGS}
    assert len(found) >= 20
    for result in found:
        assert result["measured_bytes"] >= memory.LEAST_BYTES
        now = memory.compared(by_name[result["name"]], {"measured_bytes": result["measured_bytes"]}, "cpu")
        assert now["within"], (result["name"], now["error"])
        most = now["parts"]["process"] + PROCESS.high - PROCESS.expected
        assert PROCESS.low <= result["process_bytes"] <= most, result["name"]
