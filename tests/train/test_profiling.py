"""`--profile`: what it writes of a real training, that it changes no bit of it, and how a trace is read."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import write_material
from tests.train.test_loop import Bench, settings
from whet import pipeline, store
from whet.progress import Reporter
from whet.train.profiling import trace
from whet.train.profiling.recorder import KIND, RECORDED_STEPS, WARM_UP_STEPS, Profiler, Setting
from whet.train.profiling.trace import STEP, UPDATE, Moment, Recorded, digest, thin

PHASES = ["packing", "body forward", "head and loss", "backward", "clip", "update"]


class Listener(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.events: list[tuple[str, dict[str, Any]]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))


def trained(recipe: Path, output: Path, *, profile: bool) -> tuple[pipeline.Run, Listener]:
    """The small recipe, with dropout, so that a number drawn in between would show in the weights."""
    listener = Listener()
    more = ["model.dropout=0.1", "stages.first.steps=11", "stages.second.steps=2", f"output={output}"]
    opened = pipeline.open_run(str(recipe), more, listener)
    pipeline.train(opened, profile=profile)
    return opened, listener


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[pipeline.Run, pipeline.Run, Listener]:
    """The same training twice: plain, and profiled with what was said."""
    folder = tmp_path_factory.mktemp("profiled")
    recipe = write_material(folder)
    plain, _ = trained(recipe, folder / "plain", profile=False)
    return plain, *trained(recipe, folder / "profiled", profile=True)


Runs = tuple[pipeline.Run, pipeline.Run, Listener]


def test_a_profiled_training_gives_the_same_bits(runs: Runs) -> None:
    plain, profiled, _ = runs
    for stage in ("first", "second"):
        for file in ("model/model.safetensors", "settings.json"):
            assert (plain.folder / "stages" / stage / file).read_bytes() == (
                profiled.folder / "stages" / stage / file
            ).read_bytes(), f"{stage}/{file}"
    assert not list(plain.folder.rglob(KIND))


def test_what_it_writes(runs: Runs) -> None:
    _, profiled, listener = runs
    found = store.open_artefact(profiled.folder / "stages/first/profile", KIND)
    assert set(found.files) == {"trace.json.gz", "memory.json", "profile.html", "summary.txt"}
    first, last = WARM_UP_STEPS + 1, WARM_UP_STEPS + RECORDED_STEPS
    assert (found.record["first_step"], found.record["last_step"]) == (first, last)
    assert found.record["seconds_per_step_unprofiled"] > 0
    with gzip.open(found.folder / "trace.json.gz") as file:
        steps = [event for event in json.load(file)["traceEvents"] if event["name"] == STEP]
    assert len(steps) == RECORDED_STEPS
    assert [event["stage"] for kind, event in listener.events if kind == "profiled"] == ["first", "second"]
    assert any("profile/profile.html" in line for line in listener.said)
    record = store.open_artefact(profiled.folder / "stages/first/model", "model").record
    assert any(
        f"steps {first} to {last} were profiled, which slows them" in line for line in record["notices"]
    )


def test_memory_over_a_step(runs: Runs) -> None:
    """Weights and gradients are as large as the plan says; activations come and go."""
    plain, profiled, _ = runs
    memory = json.loads((profiled.folder / "stages/first/profile/memory.json").read_text())
    plan = json.loads((plain.folder / "plan.json").read_text())
    planned = {part["name"]: part["expected"] for part in plan["stages"][0]["memory"]["parts"]}
    assert memory["device"] == "cpu"
    assert memory["weights"] == planned["weights"]
    assert memory["optimizer"] == pytest.approx(planned["optimizer"], rel=0.01)
    for step in memory["steps"]:
        assert [phase["name"] for phase in step["phases"]] == PHASES
        assert step["columns"] == ["ms", "gradients", "kept", "working"]
        gradients, kept = [row[1] for row in step["moments"]], [row[2] for row in step["moments"]]
        assert max(gradients) == pytest.approx(4 * plan["parameters"]["trainable"], rel=0.01), (
            "alignment aside"
        )
        assert gradients[0] == 0
        assert gradients[-1] == 0
        assert max(kept) > 5 * kept[0]
        assert max(kept) > 5 * kept[-1]


def test_a_stage_of_two_steps_has_one_of_them_profiled(runs: Runs) -> None:
    _, profiled, _ = runs
    record = store.open_artefact(profiled.folder / "stages/second/profile", KIND).record
    assert (record["first_step"], record["last_step"]) == (2, 2)
    assert record["seconds_per_step_unprofiled"] is None, "the only other step is the first"
    memory = json.loads((profiled.folder / "stages/second/profile/memory.json").read_text())
    assert len(memory["steps"][0]["phases"]) == len(PHASES) + 3, "accumulation: forward and backward twice"


def test_the_page_and_the_text(runs: Runs) -> None:
    _, profiled, _ = runs
    folder = profiled.folder / "stages/first/profile"
    page, text = (folder / "profile.html").read_text(), (folder / "summary.txt").read_text()
    for phase in PHASES:
        assert f"<th>{phase}</th>" in page
        assert re.search(rf"^{phase} +[\d.]+ +[\d.]+%", text, re.MULTILINE)
    assert "aten::mm" in page
    assert "aten::mm" in text
    assert "<script" not in page
    assert not re.search(r"https?://", page)
    shares = [float(found) for found in re.findall(r"^.{24} *[\d.,]+ +([\d.]+)%", text, re.MULTILINE)]
    assert sum(shares) == pytest.approx(100, abs=1), "the phases are the step"


def test_a_finished_stage_is_not_profiled_and_that_is_said(runs: Runs) -> None:
    _, profiled, _ = runs
    listener = Listener()
    pipeline.train(pipeline.open_run(str(profiled.folder), [], listener), profile=True)
    assert (
        sum("nothing was trained, so nothing was profiled; --force" in note for note in listener.notices) == 2
    )


def test_a_training_that_fails_while_recorded_leaves_no_profile(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the profiler is off again: the next one starts."""
    import torch

    from whet.train.loop import Loop

    plain, _, _ = runs
    whole = Loop._step

    def failing(self: Loop) -> Any:
        if self.progress.step == WARM_UP_STEPS + 1:
            raise RuntimeError("in the middle")
        return whole(self)

    monkeypatch.setattr(Loop, "_step", failing)
    opened = pipeline.open_run(str(plain.folder), ["name=failed", f"output={tmp_path}"], Listener())
    with pytest.raises(RuntimeError, match="in the middle"):
        pipeline.train(opened, profile=True)
    assert not (opened.folder / "stages/first/profile").exists()
    with torch.profiler.profile():
        pass


def test_a_training_stopped_while_recorded_leaves_what_there_was(
    prepared: store.Artefact, tmp_path: Path
) -> None:
    bench = Bench(prepared, tmp_path, settings(), steps=20)
    told: list[dict[str, Any]] = []
    profiler = Profiler(
        tmp_path / "profile",
        "key",
        20,
        bench.decoder,
        bench.optimizer,
        Setting("first", "on cpu", 1e6, 1e5, lambda: 1e9),
        told.append,
    )
    bench.loop.watch = profiler
    with profiler:
        assert not bench.run(until=WARM_UP_STEPS + 2)
    assert [(record["first_step"], record["last_step"]) for record in told] == [(5, 6)]
    memory = json.loads((tmp_path / "profile/memory.json").read_text())
    assert [step["step"] for step in memory["steps"]] == [5, 6]
    page = (tmp_path / "profile/profile.html").read_text()
    assert "1e+09" not in page
    assert "1 GFLOP/s" in page


def span(name: str, begin: float, end: float, category: str = "user_annotation") -> dict[str, Any]:
    return {"cat": category, "name": name, "ts": begin, "dur": end - begin, "pid": 1, "tid": 1}


def memory(at: float, address: int, size: int) -> dict[str, Any]:
    about = {"Addr": address, "Bytes": size, "Device Type": 0}
    return {"cat": "cpu_instant_event", "name": "[memory]", "ts": at, "args": about}


def test_what_a_tensor_was_for_is_told_from_its_life() -> None:
    events = [
        span(STEP, 100, 200), span("whet: body", 110, 140), span("whet: backward", 140, 170), span(UPDATE, 170, 190),
        memory(50, 1, 1000), memory(205, 1, -1000),
        memory(111, 2, 10), memory(120, 2, -10),
        memory(115, 3, 20), memory(150, 3, -20),
        memory(145, 4, 40), memory(189, 4, -40),
        memory(180, 9, -5),
    ]  # fmt: skip
    step = digest(events, [Recorded(7, gradients={4})]).steps[0]
    assert [(moment.ms, moment.held) for moment in step.moments] == [
        (0.0, (0, 0, 1000)),
        (0.011, (0, 0, 1010)),
        (0.015, (0, 20, 1010)),
        (0.02, (0, 20, 1000)),
        (0.045, (40, 20, 1000)),
        (0.05, (40, 0, 1000)),
        (0.089, (0, 0, 1000)),
    ]
    assert step.peak.held == (40, 20, 1000)


def test_an_address_used_twice_is_a_gradient_only_while_it_is_one() -> None:
    events = [
        span(STEP, 0, 100), span("whet: body", 0, 50), span(UPDATE, 80, 90),
        memory(1, 4, 8), memory(2, 4, -8), memory(60, 4, 16), memory(85, 4, -16),
    ]  # fmt: skip
    held = [moment.held for moment in digest(events, [Recorded(1, gradients={4})]).steps[0].moments]
    assert held == [(0, 0, 0), (0, 0, 8), (0, 0, 0), (16, 0, 0), (0, 0, 0)]


def test_operators_count_by_their_own_time_and_within_steps_only() -> None:
    events = [
        span(STEP, 0, 100), span(STEP, 200, 300),
        span("outer", 10, 60, "cpu_op"), span("inner", 20, 30, "cpu_op"), span("inner", 40, 45, "cpu_op"),
        span("inner", 150, 190, "cpu_op"), span("outer", 210, 220, "cpu_op"),
        span(f"## Call CompiledFxGraph {'abcdefgh' * 6} ##", 230, 231, "cpu_op"),
    ]  # fmt: skip
    found = digest(events, [Recorded(1), Recorded(2)]).operators
    assert [(item.name, item.ms, item.calls) for item in found] == [
        ("outer", pytest.approx((50 - 15 + 10) / 2000), 1.0),
        ("inner", pytest.approx(15 / 2000), 1.0),
        ("compiled graph abcdefgh", pytest.approx(1 / 2000), 0.5),
    ]


def test_on_cuda_the_device_is_what_counts() -> None:
    """Its memory, its kernels, and its own times of the phases."""
    on_device = {"Addr": 5, "Bytes": 64, "Device Type": 1}
    events = [
        span(STEP, 0, 100), span(UPDATE, 10, 12), span(UPDATE, 20, 90, "gpu_user_annotation"), memory(5, 1, 999),
        {"cat": "cpu_instant_event", "name": "[memory]", "ts": 11, "args": on_device},
        span("aten::mm", 10, 11, "cpu_op"), span("gemm", 30, 80, "kernel"),
    ]  # fmt: skip
    seen = digest(events, [Recorded(1)])
    assert seen.device == "cuda"
    assert seen.steps[0].peak.total == 64
    assert seen.phases == {"update": pytest.approx(0.07)}
    assert [item.name for item in seen.operators] == ["gemm"]


def test_thinning_keeps_the_peaks_and_the_end() -> None:
    moments = [Moment(float(at), (0, at % 7, 0)) for at in range(1000)]
    few = thin(moments, 100)
    assert len(few) <= 100
    assert max(moment.total for moment in few) == 6
    assert few[-1] == moments[-1]
    assert thin(moments, 1000) == moments
    assert trace.MOST_MOMENTS >= 1000
