"""The benchmarks' own arithmetic: what they report must be what they say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from whet.models.build import new_model
from whet.models.shape import Shape

BENCH = Path(__file__).resolve().parents[2] / "bench"
SHAPE = Shape(
    norm="rmsnorm", positions="rope", d_model=32, layers=2, heads=4, d_ff=64, context=32, vocab_size=64
)


@pytest.fixture(autouse=True)
def bench_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks are scripts beside one another."""
    monkeypatch.syspath_prepend(str(BENCH))


def trainings(seeds: int, more_bits: float) -> list[dict[str, Any]]:
    """Documents of very different hardness; the second side needs `more_bits` more per byte on each."""
    import quality

    found = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        text_bytes, hardness = random.integers(100, 9000, 60), random.uniform(0.5, 3.0, 60)
        for side, extra in zip(quality.SIDES[:2], (0.0, more_bits), strict=True):
            nll = (hardness + extra) * text_bytes * math.log(2)
            figures = {"nll_nats": nll.tolist(), "bytes": text_bytes.tolist()}
            value = float(nll.sum() / math.log(2) / text_bytes.sum())
            found.append(
                {"clock": "training", "side": side.name, "seed": seed, "bits_per_byte": value, **figures}
            )
    return found


def test_differences_are_paired_over_documents_and_seeds() -> None:
    import quality

    first, second = quality.summary(trainings(3, 0.1))
    assert first["difference_interval"] == [0.0, 0.0]
    assert second["difference"] == pytest.approx(0.1)
    assert second["difference_interval"] == pytest.approx([0.1, 0.1])
    low, high = second["interval"]
    assert low < second["bits_per_byte"] < high
    assert high - low > 0.1, "the documents differ, so the value itself is uncertain"


def test_a_seed_that_not_every_side_finished_is_left_out() -> None:
    import quality

    assert [row["seeds"] for row in quality.summary(trainings(3, 0.1)[:-1])] == [[0, 1], [0, 1]]


def test_every_profiled_microsecond_has_one_part_and_one_kind() -> None:
    import anatomy

    matrix = torch.randn(256, 256)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for part in anatomy.PARTS:
            with record_function(part):
                torch.mm(matrix, matrix).tanh()
        torch.mm(matrix, matrix)
    seconds = anatomy._by_part_and_kind(profiler.events())
    wall = {e.name: e.cpu_time_total / 1e6 for e in profiler.events() if e.name in anatomy.PARTS}
    for part in anatomy.PARTS:
        parts = {kind: value for (at, kind), value in seconds.items() if at == part}
        assert sum(parts.values()) == pytest.approx(wall[part], rel=0.01)
        assert parts[anatomy.PRODUCTS] > 0
        assert parts[anatomy.ELEMENTS] > 0
        assert parts[anatomy.BETWEEN] >= 0


@pytest.mark.parametrize("written_out", [False, True])
def test_the_bare_loops_model_is_the_same_function(written_out: bool) -> None:
    import bare_side

    decoder = new_model(
        SHAPE, {"bos": 0, "eos": 1, "pad": 2}, seed=1, device=torch.device("cpu"), precision="fp32"
    )
    config = decoder.model.config
    bare = bare_side.PlainLlama(
        SHAPE, 16, config.rms_norm_eps, config.rope_parameters["rope_theta"], written_out=written_out
    )
    bare.load_state_dict(decoder.model.model.state_dict())
    ids = torch.randint(0, 64, (2, 17))
    with torch.no_grad():
        logits = decoder.model(input_ids=ids[:, :-1], use_cache=False).logits
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        assert float(bare(ids[:, :-1], ids[:, 1:])) == pytest.approx(float(expected), rel=1e-5)


def test_stacked_muon_is_torchs_muon() -> None:
    import muon

    both = [
        (kind, [torch.nn.Parameter(m) for m in muon.matrices(32, 2)])
        for kind in (muon.Torch, lambda weights: muon.Stacked(weights, muon.all_at_once))
    ]
    for make, weights in both:
        optimizer = make(weights)
        for seed in range(3):
            muon.give_gradients(weights, seed)
            optimizer.step()
    for theirs, ours in zip(both[0][1], both[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    moved = max(
        float((a.detach() - b).abs().max()) for a, b in zip(both[0][1], muon.matrices(32, 2), strict=True)
    )
    assert moved > 1e-3
