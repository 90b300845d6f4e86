"""Work in processes: in order, errors as they are, and a process that the system ends takes one task along."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from whet.errors import WhetError
from whet.evm.pairs.nouns import ENDED
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.texts import FAILED, NONE, ended, texts


def doubled(number: int, told: Sequence[int]) -> int:
    if number in told:
        os._exit(9)
    if number < 0:
        raise WhetError("negative")
    return 2 * number


def lost(number: int, told: Sequence[int]) -> int:
    return -1


def test_as_many_as_cores_also_where_no_affinity_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sched_getaffinity"):
        assert Pool().jobs == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert Pool().jobs == os.cpu_count()


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_are_in_order(jobs: int) -> None:
    with Pool(jobs) as pool:
        assert list(pool.several(doubled, [(n, ()) for n in range(7)], lost, "doubling")) == [
            2 * n for n in range(7)
        ]
        assert list(pool.several(doubled, [], lost, "doubling")) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_result_is_said(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, str]] = []
    monkeypatch.setattr("whet.evm.pairs.pool.working", lambda **figures: said.append(figures))
    with Pool(jobs) as pool:
        pool.of = "solmate off"
        for at, _ in enumerate(pool.several(doubled, [(n, ()) for n in range(3)], lost, "doubling")):
            assert len(said) == at + 2, "as they come"
    assert said == [{"doubling": f"solmate off {at}/3"} for at in range(4)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_raised_is_raised(jobs: int) -> None:
    with Pool(jobs) as pool:
        with pytest.raises(WhetError, match="negative"):
            list(pool.several(doubled, [(1, ()), (-1, ()), (2, ())], lost, "doubling"))
        assert list(pool.several(doubled, [(3, ())], lost, "doubling")) == [6], "it goes on"


def test_an_ended_process_takes_its_own_task_along() -> None:
    with Pool(2) as pool:
        found = list(pool.several(doubled, [(n, (2, 5)) for n in range(8)], lost, "doubling"))
    assert found == [0, 2, -1, 6, 8, -1, 12, 14]


def test_a_process_that_is_ended_while_idle_takes_nothing_along() -> None:
    with Pool(2) as pool:
        assert list(pool.several(doubled, [(n, ()) for n in range(4)], lost, "doubling")) == [0, 2, 4, 6]
        assert pool._pool is not None
        (first, *_) = pool._pool._processes.values()
        first.kill()
        first.join()
        assert list(pool.several(doubled, [(n, ()) for n in range(4)], lost, "doubling")) == [0, 2, 4, 6]


def test_code_that_is_none_and_a_mistake_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [text.missing for text in texts("00", [(1, ()), ("receive", ()), ("pc:7", ())])] == [NONE] * 3
    (proxy,) = texts(
        "363d3d373d3d3d363d73" + "be" * 20 + "5af43d82803e903d91602b57fd5bf3", [("fallback", ())]
    )
    assert "delegatecall" in proxy.shown.tac, "where nothing is dispatched, all of it is the fallback"
    monkeypatch.setattr("whet.evm.pairs.texts.lift_code", None)
    (mistake,) = texts("00", [(1, ())])
    assert (mistake.missing, mistake.detail[:9]) == (FAILED, "TypeError")
    (gone,) = ended("", [(1, ())], False)
    assert (gone.missing, gone.detail) == (FAILED, ENDED)
