"""Every key of a recipe does something that can be seen outside of the recipe. See CONTRIBUTING.md, "A recipe key"."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.proofs.every_key import Laboratory, Probe, changed, keys, seen, write_material
from tests.proofs.probes import PROBES, SEES, other_objective, write_arrays
from whet import hardware


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    folder = tmp_path_factory.mktemp("every_key")
    write_material(folder)
    made = Laboratory(folder)
    write_arrays(made)
    return made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second of matrix products per training: it measures the machine, no key of a recipe."""
    monkeypatch.setattr(hardware, "matmul_peak", lambda *args, **more: 1e9)


def test_every_key_has_a_probe() -> None:
    there = set(keys())
    assert len(there) > 80
    assert there - PROBES.keys() == set(), (
        "these keys have no probe (tests/proofs/probes.py): do they do anything?"
    )
    assert PROBES.keys() - there == set(), "there are probes for keys that do not exist"


@pytest.mark.parametrize(
    "key",
    [pytest.param(key, marks=[pytest.mark.slow] if probe.slow else []) for key, probe in PROBES.items()],
)
def test_the_key_does_something(key: str, laboratory: Laboratory) -> None:
    probe = PROBES[key]
    with other_objective():
        one, other = laboratory.side(probe.given), laboratory.side((*probe.given, *probe.changes))
        different = changed(one.recipe.model_dump(), other.recipe.model_dump())
        assert key in different if probe.more else different == {key}, (
            f"the two recipes differ in {different}"
        )
        before, after = seen(probe, one), seen(probe, other)
    assert before != after, f"{key} changed nothing"
    if probe.refused:
        assert probe.refused in after
        assert not before.startswith("refused")


@pytest.mark.parametrize("see", SEES, ids=lambda see: see.__name__)
def test_equal_recipes_look_equal(see: object, laboratory: Laboratory, tmp_path: Path) -> None:
    """What is looked at holds no clock and no folder: made twice, it is the same."""
    write_material(tmp_path)
    probe = Probe(see, ())  # type: ignore[arg-type]
    assert seen(probe, laboratory.side(())) == seen(probe, Laboratory(tmp_path).side(()))


@pytest.mark.slow
def test_compile_on_makes_graphs(laboratory: Laboratory) -> None:
    from torch._dynamo.utils import counters

    one, other = (laboratory.side((f'compile="{word}"',)) for word in ("off", "on"))
    if not hardware.has_compiler(torch.device("cpu"))[0]:
        pytest.skip("no compiler here")
    graphs = []
    for side in (one, other):
        counters.clear()
        side.train_again()
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] == 0 < graphs[1]


def test_a_key_without_a_probe_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = PROBES.pop("stages[].eps")
    try:
        with pytest.raises(AssertionError, match=r"stages\[\]\.eps"):
            test_every_key_has_a_probe()
    finally:
        PROBES["stages[].eps"] = removed
    monkeypatch.setitem(PROBES, "stages[].gone", removed)
    with pytest.raises(AssertionError, match="gone"):
        test_every_key_has_a_probe()
