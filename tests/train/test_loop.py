"""The loop's guards, checkpoints and validation. That its numbers are right is shown in tests/proofs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.proofs.bench import SHAPE, SPECIAL, Bench, StopAt, settings
from whet import store
from whet.errors import ArtefactError, LossNotFinite
from whet.progress import Reporter
from whet.train import state

__all__ = ["SHAPE", "SPECIAL", "Bench", "StopAt", "settings"]


def test_a_loss_that_is_not_finite_touches_nothing(prepared: store.Artefact, tmp_path: Path) -> None:
    bench = Bench(prepared, tmp_path, settings(skip_steps=0), steps=5)
    bench.run(until=2)
    weights = [weight.detach().clone() for weight in bench.decoder.model.parameters()]
    states = {name: value.clone() for name, value in bench.optimizer.state_tensors().items()}
    right = bench.loop.objective.loss_sum
    bench.loop.objective.loss_sum = lambda model, batch: right(model, batch) * float("nan")  # type: ignore[method-assign]
    with pytest.raises(LossNotFinite, match=r"step 3") as error:
        bench.run()
    assert "a/m" in str(error.value), "the documents of the batch are named"
    assert all(torch.equal(a, b) for a, b in zip(weights, bench.decoder.model.parameters(), strict=True))
    assert all(torch.equal(states[name], value) for name, value in bench.optimizer.state_tensors().items())


def test_a_gradient_that_is_not_finite_touches_nothing(prepared: store.Artefact, tmp_path: Path) -> None:
    bench = Bench(prepared, tmp_path, settings(skip_steps=0), steps=5)
    weight = next(iter(bench.decoder.model.parameters()))
    weight.register_hook(lambda grad: grad * float("inf"))
    before = weight.detach().clone()
    with pytest.raises(LossNotFinite, match="gradient norm"):
        bench.run()
    assert torch.equal(before, weight)


def test_the_best_weights_are_those_of_the_lowest_validation(
    prepared: store.Artefact, tmp_path: Path
) -> None:
    """A learning rate that blows up after a good start: the kept weights are the good ones."""
    bench = Bench(
        prepared, tmp_path, settings(schedule="constant", optimizer="adamw", evaluate_every=1), steps=8
    )
    seen = {}
    save = bench.loop.save_best

    def remember() -> None:
        seen[bench.progress.step] = [weight.detach().clone() for weight in bench.decoder.model.parameters()]
        save()

    bench.loop.save_best = remember
    bench.run(until=4)
    bench.settings.learning_rate = 3.0
    bench.run()
    losses = {line["step"]: line["validation_loss"] for line in bench.lines if "validation_loss" in line}
    best = min(losses, key=losses.__getitem__)
    assert best == bench.progress.best_step < 8
    found = state.load_best(tmp_path, bench.decoder, "key")
    assert found is not None
    assert found.step == best
    assert all(torch.equal(a, b) for a, b in zip(seen[best], bench.decoder.model.parameters(), strict=True))


def test_a_damaged_checkpoint_is_named_and_the_older_one_used(
    prepared: store.Artefact, tmp_path: Path
) -> None:
    bench = Bench(prepared, tmp_path, settings(save_every=2), steps=6)
    bench.run()
    newest = tmp_path / "step-00000006" / "optimizer.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    reporter = Reporter()
    found = state.restore(tmp_path, bench.decoder, bench.optimizer, "key", reporter)
    assert found is not None
    assert found.step == 4
    assert "step-00000006" in reporter.notices[0]
    for folder in tmp_path.glob("step-*"):
        (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ArtefactError, match="no checkpoint is whole"):
        state.restore(tmp_path, bench.decoder, bench.optimizer, "key", reporter)


def test_checkpoints_of_other_settings_are_refused(prepared: store.Artefact, tmp_path: Path) -> None:
    bench = Bench(prepared, tmp_path, settings(), steps=2)
    bench.run()
    with pytest.raises(ArtefactError, match="other settings"):
        state.restore(tmp_path, bench.decoder, bench.optimizer, "another", Reporter())


def test_only_the_newest_checkpoints_are_kept(prepared: store.Artefact, tmp_path: Path) -> None:
    bench = Bench(prepared, tmp_path, settings(save_every=1), steps=5)
    bench.run()
    state.prune(tmp_path, 2)
    assert sorted(item.name for item in tmp_path.glob("step-*")) == ["step-00000004", "step-00000005"]


def test_validation_leaves_training_as_it_was(prepared: store.Artefact, tmp_path: Path) -> None:
    often = Bench(prepared, tmp_path / "often", settings(evaluate_every=1), steps=6)
    never = Bench(prepared, tmp_path / "never", settings(evaluate_every=100), steps=6)
    often.run()
    never.run()
    losses = [[line["loss"] for line in bench.lines if "loss" in line] for bench in (often, never)]
    assert losses[0] == losses[1]
