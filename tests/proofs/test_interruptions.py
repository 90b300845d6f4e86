"""Ended at any moment: by SIGKILL nothing unloadable remains and one interval is lost at most; by SIGTERM nothing is.

Every trial is a real training (`StageTraining.train`) of a tiny model that mostly saves. A kill counts as
landed inside a save if it left `.staging-*` or `.replaced-*` behind: the share of those is asserted, for a
kill that never hits a save proves nothing.
"""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.proofs.nursery import Child, Nursery, bits, checkpoints, leftovers
from whet import store
from whet.errors import ArtefactError

STEPS = 6
AIMS = ("random", "checkpoints/.staging-step", "random", ".staging-best", "random", ".staging-model")


@dataclass
class Usual:
    """A training that nobody disturbed: its bits, and how long it and its longest save took."""

    bits: dict[str, str]
    seconds: float
    save_s: float


def decided(folder: Path) -> dict[str, str]:
    """What the training decided, without the checkpoints on the way, of which a stop adds one."""
    last = f"step-{STEPS:08d}"
    return {name: value for name, value in bits(folder).items() if "checkpoints" not in name or last in name}


@pytest.fixture(scope="module")
def usual(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Usual:
    """The straight run."""
    return straight(nursery, tmp_path_factory.mktemp("straight") / "first")


def straight(nursery: Nursery, folder: Path) -> Usual:
    """A training from its beginning to its end."""
    child = nursery.run("train", folder=str(folder), save_every=1)
    assert child.code == 0, child.trouble()
    told = child.told()
    return Usual(decided(folder), told[-1][0] - told[0][0], longest_s(child)["save ends"])


def longest_s(child: Child) -> dict[str, float]:
    """The longest step and the longest save of this child."""
    told = child.told()
    longest = {"step": 0.0, "save ends": 0.0}
    for (before, _, _), (after, what, _) in itertools.pairwise(told):
        if what in longest:
            longest[what] = max(longest[what], after - before)
    return longest


def appears(folder: Path, aim: str) -> bool:
    """Whether something whose name begins so lies there."""
    inner, _, start = aim.rpartition("/")
    place = folder / inner
    try:
        return any(item.name.startswith(start) for item in place.iterdir())
    except FileNotFoundError:
        return False


def wait_for(child: Child, folder: Path, aim: str, draw: random.Random, usual: Usual) -> None:
    """Until the moment that was drawn: any, or some way into a save of this kind."""
    if aim == "random":
        time.sleep(draw.uniform(0, 1.2 * usual.seconds))
        return
    child.until(lambda: appears(folder, aim))
    time.sleep(draw.uniform(0, usual.save_s))


def all_whole(folder: Path) -> None:
    """Whatever has the name of an artefact is one. Raises ArtefactError for what is not."""
    checkpoints(folder)
    for kind in ("best", "model"):
        if (folder / kind).exists():
            store.open_artefact(folder / kind, kind)
    if (folder / "settings.json").exists():
        store.read_sealed(folder / "settings.json")


def resumed_at(child: Child) -> int:
    """The step a child says it went on from; 0 if it began."""
    said = [text for text in child.values("said") if "resumed at step" in text]
    return int(said[0].split("resumed at step ")[1].split()[0]) if said else 0


@dataclass
class Kills:
    """Kills trainings until there were enough of them, and counts what came of it."""

    nursery: Nursery
    work: Path
    usual: Usual
    draw: random.Random
    kills: int = 0
    inside: Counter[str] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)
    finished: int = 0

    def run(self, wanted: int) -> None:
        aims = self._aims()
        for number in range(10 * wanted):
            if self.kills >= wanted:
                return
            self._one_training(self.work / str(number), aims)
        raise AssertionError(f"only {self.kills} of {wanted} kills came in time")

    def _aims(self) -> Iterator[str]:
        while True:
            yield from AIMS

    def _one_training(self, folder: Path, aims: Iterator[str]) -> None:
        """Kill a training one to three times, then let it come to its end."""
        save_every = self.draw.choice((1, 2))
        killed: Child | None = None
        for _ in range(self.draw.randint(1, 3)):
            child = self.nursery.begin("train", folder=str(folder), save_every=save_every)
            wait_for(child, folder, next(aims), self.draw, self.usual)
            child.send(signal.SIGKILL)
            if child.wait() != -signal.SIGKILL:
                assert child.code == 0, child.trouble()
                break
            self.kills += 1
            self._look(folder, child, killed, save_every)
            killed = child
        last = self.nursery.run("train", folder=str(folder), save_every=save_every)
        assert last.code == 0, last.trouble()
        self._compare(last, killed, save_every)
        assert leftovers(folder) == []
        assert decided(folder) == self.usual.bits
        self.finished += 1

    def _look(self, folder: Path, child: Child, before: Child | None, save_every: int) -> None:
        """At what a kill left, before anything tidies up."""
        all_whole(folder)
        left = leftovers(folder)
        for name in left:
            self.inside[name.rpartition("/")[2].split("-")[1].split(".")[0]] += 1
        self.inside["any"] += bool(left)
        if child.values("step"):  # it got past its start, which tidies up
            assert [name for name in left if not name.endswith(f"-{child.process}")] == []
        self._compare(child, before, save_every)

    def _compare(self, child: Child, before: Child | None, save_every: int) -> None:
        """What a start found with what the killed one before had told."""
        assert not [text for text in child.values("notice") if "passed over" in text], child.trouble()
        assert not child.values("traceback"), child.trouble()
        if before is None or not (child.values("step") or child.code == 0):
            return
        if any("finished before" in text for text in child.values("said")):
            return
        found = resumed_at(child)
        done = max([resumed_at(before), *before.values("step")])
        assert found >= max([0, *before.values("save ends")]), (before.trouble(), child.trouble())
        assert done - found <= save_every, (before.trouble(), child.trouble())
        self.lost[max(0, done - found)] += 1

    def line(self) -> str:
        where = ", ".join(f"{count} {name}" for name, count in self.inside.most_common() if name != "any")
        return (
            f"SIGKILL: {self.kills} kills, {self.inside['any']} of them inside a save ({where}): 0 unloadable, "
            f"most lost steps {max(self.lost, default=0)} (an interval is 1 or 2), {self.finished} of "
            f"{self.finished} trainings then gave the straight run's bits"
        )


@pytest.mark.parametrize("wanted", [14, pytest.param(200, marks=pytest.mark.slow)])
def test_sigkill_at_any_moment(
    nursery: Nursery,
    usual: Usual,
    tmp_path: Path,
    wanted: int,
    figure: Callable[[str], None],
) -> None:
    kills = Kills(nursery, tmp_path, usual, random.Random(wanted))
    kills.run(wanted)
    figure(kills.line())
    assert kills.inside["any"] >= (0.3 if wanted >= 200 else 0.2) * wanted, kills.line()
    if wanted >= 200:
        assert all(kills.inside[name] >= 10 for name in ("step", "best", "model")), kills.line()


def test_the_proof_notices_a_torn_checkpoint(nursery: Nursery, tmp_path: Path) -> None:
    """What `all_whole` would say if a save were not atomic."""
    child = nursery.run("train", folder=str(tmp_path), save_every=2, steps=2)
    assert child.code == 0
    all_whole(tmp_path)
    (tmp_path / "checkpoints/step-00000002/optimizer.safetensors").unlink()
    with pytest.raises(ArtefactError, match=r"optimizer\.safetensors"):
        all_whole(tmp_path)


MOMENTS = ("start", "random", "checkpoints/.staging-step", "validation", ".staging-best", ".staging-model")


@dataclass
class Stops:
    """Asks trainings to stop, and counts what came of it."""

    nursery: Nursery
    usual: Usual
    draw: random.Random
    ended: Counter[str] = field(default_factory=Counter)
    left_s: list[float] = field(default_factory=list)
    over_s: list[float] = field(default_factory=list)

    def one(self, folder: Path, moment: str) -> None:
        number = self.draw.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGINT))
        child = self.nursery.begin("train", folder=str(folder), save_every=self.draw.choice((1, 2, 100)))
        self._wait(child, folder, moment)
        sent = child.send(number)
        if self.draw.random() < 0.4:
            time.sleep(self.draw.uniform(0, 0.02))
            child.send(signal.SIGTERM)
        child.wait()
        self.left_s.append(time.monotonic() - sent)
        self.over_s.append(self.left_s[-1] - sum(longest_s(child).values()))
        self._look(folder, child)
        again = self.nursery.run("train", folder=str(folder), save_every=1)
        assert again.code == 0, again.trouble()
        assert decided(folder) == self.usual.bits
        assert leftovers(folder) == []

    def _wait(self, child: Child, folder: Path, moment: str) -> None:
        if moment == "start":
            time.sleep(self.draw.uniform(0, 0.2 * self.usual.seconds))
        elif moment == "validation":
            child.until(lambda: 4 in child.values("step"))
            time.sleep(self.draw.uniform(0, 0.01))
        else:
            wait_for(child, folder, moment, self.draw, self.usual)

    def _look(self, folder: Path, child: Child) -> None:
        """Stopped by the loop: all that was done is saved. Otherwise: nothing that was saved is lost."""
        assert not child.values("traceback"), child.trouble()
        all_whole(folder)
        newest = max([0, *(item.record["step"] for item in checkpoints(folder))])
        if any(name == "Stopped" for name, _ in child.values("error")):
            assert child.code == 130
            assert newest == max([0, *child.values("step")]), child.trouble()
            self.ended["saved and said so"] += 1
        else:
            assert child.code in (0, 130, -signal.SIGTERM), child.trouble()
            assert newest >= max([0, *child.values("save ends")]), child.trouble()
            begun = bool(child.values("step"))
            finished = child.code == 0
            self.ended[
                "finished first" if finished else "ended after the loop" if begun else "ended before the loop"
            ] += 1

    def line(self) -> str:
        ended = ", ".join(f"{count} {name}" for name, count in self.ended.most_common())
        return (
            f"SIGTERM/SIGINT: {len(self.left_s)} of {len(self.left_s)} gone (longest {max(self.left_s):.2f} s, longest "
            f"beyond one step and one save {max(0.0, *self.over_s):.2f} s; {ended}); each resumed to the straight run's bits"
        )


@pytest.mark.parametrize("wanted", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_sigterm_at_any_moment(
    nursery: Nursery,
    usual: Usual,
    tmp_path: Path,
    wanted: int,
    figure: Callable[[str], None],
) -> None:
    stops = Stops(nursery, usual, random.Random(wanted))
    for number in range(wanted):
        stops.one(tmp_path / str(number), MOMENTS[number % len(MOMENTS)])
    figure(stops.line())
    assert stops.ended["saved and said so"] >= 0.3 * wanted, stops.line()
    if wanted >= 50:
        assert max(stops.over_s) <= 5.0, stops.line()
