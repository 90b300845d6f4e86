"""The loop against a reference in a few lines of torch; accumulation; guards; exact resume in process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.test_optim import stage
from whet import packing, store
from whet.errors import ArtefactError, LossNotFinite
from whet.models.build import new_model
from whet.models.decoder import Decoder
from whet.models.shape import Shape
from whet.objectives.pretrain import Pretrain
from whet.progress import Reporter, Task
from whet.recipe.schema import Stage
from whet.train import state
from whet.train.data import TrainingData
from whet.train.guards import StopRequest
from whet.train.loop import Loop
from whet.train.optim import Optimizer, rate_share
from whet.train.state import Progress

SHAPE = Shape(
    norm="rmsnorm", positions="rope", d_model=32, layers=2, heads=2, d_ff=64, context=64, vocab_size=420
)
SPECIAL = {"pad": 0, "bos": 2, "eos": 3}


class StopAt(StopRequest):
    """Asks to stop once the loop has finished a step."""

    def __init__(self, progress: Progress, step: int) -> None:
        self.progress, self.step = progress, step

    @property
    def asked(self) -> str | None:  # type: ignore[override]
        return "test" if self.progress.step >= self.step else None


class Bench:
    """One stage's loop over the prepared folder, with everything it logs in lists."""

    def __init__(
        self,
        prepared: store.Artefact,
        folder: Path,
        settings: Stage,
        *,
        steps: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        torch.manual_seed(11)
        self.folder, self.settings = folder, settings
        self.decoder: Decoder = new_model(
            SHAPE, SPECIAL, seed=5, device=torch.device("cpu"), precision="fp32"
        )
        self.decoder.model.to(dtype)
        self.optimizer = Optimizer(self.decoder, settings)
        self.progress = Progress()
        self.lines: list[dict[str, Any]] = []
        data = {
            side: TrainingData(prepared.folder / "first" / side, settings, vocab_size=420, pad_id=0, seed=3)
            for side in ("train", "validation")
        }
        self.loop = Loop(
            stage=settings,
            steps=steps,
            decoder=self.decoder,
            objective=Pretrain(),
            optimizer=self.optimizer,
            training=data["train"],
            validation=data["validation"],
            progress=self.progress,
            log=self.lines.append,
            save=self.save,
            save_best=lambda: state.save_best(folder, self.decoder, self.progress, "key"),
        )

    def save(self) -> None:
        state.save(self.folder, self.decoder, self.optimizer, self.progress, "key")

    def resume(self) -> None:
        found = state.restore(self.folder, self.decoder, self.optimizer, "key", Reporter())
        assert found is not None
        for name in ("step", "tokens", "seconds", "best_step", "best_loss", "validation_due"):
            setattr(self.progress, name, getattr(found, name))

    def run(self, until: int | None = None) -> bool:
        stop = StopAt(self.progress, until) if until is not None else StopRequest()
        return self.loop.run(Task("", None), stop)

    def figures(self) -> list[tuple[Any, ...]]:
        return [
            (line["step"], line.get("loss"), line.get("grad_norm"), line.get("validation_loss"))
            for line in self.lines
        ]


def settings(**more: Any) -> Stage:
    given: dict[str, Any] = {
        "name": "first", "sequence_length": 48, "batch_size": 4, "log_every": 1, "evaluate_every": 3,
        "save_every": 100, "learning_rate": 5e-3, "warmup_steps": 2,
    }  # fmt: skip
    return stage(**{**given, **more})


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize(
    ("schedule", "accumulation"), [("linear", 1), ("cosine", 2), ("wsd", 1), ("constant", 3)]
)
def test_stop_and_resume_is_bitwise_the_straight_run(
    prepared: store.Artefact, tmp_path: Path, optimizer: str, schedule: str, accumulation: int
) -> None:
    """Losses, gradient norms, validation losses, optimiser state and final weights; also across an epoch."""
    chosen = settings(optimizer=optimizer, schedule=schedule, accumulation=accumulation, batch_size=2)
    straight = Bench(prepared, tmp_path / "straight", chosen, steps=10)
    assert straight.run()
    first = Bench(prepared, tmp_path / "stopped", chosen, steps=10)
    assert not first.run(until=4)
    second = Bench(prepared, tmp_path / "stopped", chosen, steps=10)
    torch.manual_seed(999)
    second.resume()
    assert second.progress.step == 4
    assert second.run()
    assert first.figures() + second.figures() == straight.figures()
    for (name, found), expected in zip(
        second.decoder.model.named_parameters(), straight.decoder.model.parameters(), strict=True
    ):
        assert torch.equal(found, expected), name
    ours, theirs = second.optimizer.state_tensors(), straight.optimizer.state_tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_resume_is_bitwise_with_dropout(prepared: store.Artefact, tmp_path: Path) -> None:
    """The random state is part of a checkpoint."""

    def bench(name: str) -> Bench:
        made = Bench(prepared, tmp_path / name, settings(), steps=6)
        for layer in made.decoder.model.model.layers:
            layer.self_attn.attention_dropout = 0.3
        return made

    straight = bench("a")
    straight.run()
    first = bench("b")
    first.run(until=3)
    second = bench("b")
    torch.manual_seed(4321)
    second.resume()
    second.run()
    assert first.figures() + second.figures() == straight.figures()


def test_the_loop_is_a_plain_loop(prepared: store.Artefact, tmp_path: Path) -> None:
    """The same losses and weights as a reference written with nothing of the loop."""
    chosen = settings(optimizer="adamw", schedule="linear", weight_decay=0.1)
    bench = Bench(prepared, tmp_path, chosen, steps=5)
    bench.run()
    model = new_model(SHAPE, SPECIAL, seed=5, device=torch.device("cpu"), precision="fp32").model
    matrices = [w for n, w in model.named_parameters() if w.ndim == 2 and "embed" not in n]
    others = [w for n, w in model.named_parameters() if not (w.ndim == 2 and "embed" not in n)]
    adamw = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=1.0,
        betas=(0.9, 0.95),
    )
    expected = []
    data = bench.loop.training
    for step in range(5):
        rows = packing.row_at(len(data.rows), 3, step * 4, 4)
        batch = packing.batch_of(data.store, data.rows, rows, 0)
        segments = torch.from_numpy(batch.segments)
        mask = ((segments[:, :, None] == segments[:, None, :]) & torch.ones(48, 48, dtype=torch.bool).tril())[
            :, None
        ]
        logits = model(
            input_ids=torch.from_numpy(batch.inputs), position_ids=torch.from_numpy(batch.positions),
            attention_mask=mask, use_cache=False,
        ).logits  # fmt: skip
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(batch.labels).flatten(), ignore_index=-100
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in adamw.param_groups:
            group["lr"] = 5e-3 * rate_share(chosen, step, 5)
        adamw.step()
        adamw.zero_grad()
        expected.append(loss.item())
    found = [line["loss"] for line in bench.lines if "loss" in line]
    assert found == pytest.approx(expected, rel=1e-5)
    for found_weight, weight in zip(bench.decoder.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found_weight, weight, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"), [(torch.float64, 20, 1e-9), (torch.float32, 10, 1e-5)]
)
def test_accumulation_does_not_change_the_training(
    prepared: store.Artefact, tmp_path: Path, dtype: torch.dtype, steps: int, tolerance: float
) -> None:
    """1 x 8 = 2 x 4 = 8 x 1, though the rows hold different numbers of labels."""
    losses = []
    for batch_size, accumulation in ((8, 1), (4, 2), (1, 8)):
        chosen = settings(
            batch_size=batch_size, accumulation=accumulation, optimizer="adamw", learning_rate=1e-3
        )
        bench = Bench(prepared, tmp_path / f"{batch_size}", chosen, steps=steps, dtype=dtype)
        bench.loop.validation = None
        bench.run()
        losses.append([line["loss"] for line in bench.lines])
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)
    assert losses[0] == pytest.approx(losses[2], rel=tolerance)


def test_a_loss_that_is_not_finite_touches_nothing(prepared: store.Artefact, tmp_path: Path) -> None:
    bench = Bench(prepared, tmp_path, settings(), steps=5)
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
    bench = Bench(prepared, tmp_path, settings(), steps=5)
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
