"""What each of two processes does for test_two_processes.py: `torchrun -m tests.proofs.two_processes PREPARED FOLDER`.

The first one writes FOLDER/found.json: per scenario the log lines, and what the parameters were.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from tests.train.test_optim import stage
from whet import launch
from whet.models.build import new_model
from whet.models.shape import Shape
from whet.objectives.pretrain import Pretrain
from whet.progress import Reporter, Task
from whet.recipe.schema import Stage
from whet.train import state
from whet.train.data import TrainingData
from whet.train.guards import StopRequest
from whet.train.loop import Loop
from whet.train.optim import Optimizer
from whet.train.sharding import Sharding
from whet.train.state import Progress
from whet.train.world import World, joined

STEPS, HALF = 6, 3
ROWS_PER_STEP = 8
SHAPE = {
    "norm": "rmsnorm", "positions": "rope", "d_model": 32, "layers": 2, "heads": 2, "d_ff": 64, "context": 64,
    "vocab_size": 420,
}  # fmt: skip


class StopAt(StopRequest):
    """Asks to stop once a step is done, in one process only."""

    def __init__(self, progress: Progress, step: int | None, here: bool) -> None:
        self.progress, self.step, self.here = progress, step, here

    @property
    def asked(self) -> str | None:  # type: ignore[override]
        reached = self.step is not None and self.progress.step >= self.step
        return "test" if reached and self.here else None


class Training:
    """A stage's loop as the train room builds it, in any number of processes."""

    def __init__(self, prepared: Path, folder: Path, world: World, kind: Any, **more: Any) -> None:
        dropout = more.pop("dropout", 0.0)
        given = {
            "name": "first", "sequence_length": 48, "batch_size": 2, "log_every": 1, "evaluate_every": 2,
            "accumulation": ROWS_PER_STEP // 2 // world.size, "learning_rate": 1e-3, "warmup_steps": 2, **more,
        }  # fmt: skip
        settings: Stage = stage(**given)
        torch.manual_seed(11 + world.rank)
        self.world, self.folder, self.lines = world, folder, list[dict[str, Any]]()
        self.decoder = new_model(
            Shape(**SHAPE, dropout=dropout), {"pad": 0, "bos": 2, "eos": 3}, seed=5,
            device=torch.device("cpu"), precision="fp32",
        )  # fmt: skip
        self.sharding = Sharding(self.decoder, world, kind)
        self.optimizer, self.progress = Optimizer(self.decoder, settings), Progress()
        training, validation = (
            TrainingData(
                prepared / "first" / side, settings, vocab_size=420, pad_id=0, seed=3, launch=world.launch
            )
            for side in ("train", "validation")
        )
        self.loop = Loop(
            stage=settings, steps=STEPS, decoder=self.decoder, objective=Pretrain(), optimizer=self.optimizer,
            training=training, validation=validation, progress=self.progress, sharding=self.sharding,
            log=self.lines.append, notice=print, save=self.save, save_best=lambda: None,
        )  # fmt: skip

    def save(self) -> None:
        state.save(self.folder, self.decoder, self.optimizer, self.progress, "key", self.world)

    def resume(self) -> Training:
        found = state.restore(self.folder, self.decoder, self.optimizer, "key", Reporter(), self.world)
        assert found is not None
        assert found.step == HALF
        for field in fields(found):
            setattr(self.progress, field.name, getattr(found, field.name))
        return self

    def run(self, until: int | None = None) -> list[dict[str, Any]]:
        last = self.world.rank == self.world.size - 1
        self.loop.run(Task("", None), StopAt(self.progress, until, here=last))
        return self.figures()

    def figures(self) -> list[dict[str, Any]]:
        kept = ("step", "tokens", "loss", "grad_norm", "validation_loss")
        return [{name: line[name] for name in kept if name in line} for line in self.lines]


def main(prepared: Path, folder: Path) -> None:
    found: dict[str, Any] = {}
    with joined("cpu", launch.required(2)) as world:
        for kind in ("ddp", "fsdp2"):
            for optimizer in ("adamw", "muon"):
                made = Training(prepared, folder / f"{kind}-{optimizer}", world, kind, optimizer=optimizer)
                weights = list(made.decoder.model.parameters())
                found[f"{kind}-{optimizer}"] = {
                    "world": distributed.get_world_size(),
                    "backend": distributed.get_backend(),
                    "dtensors": sum(isinstance(weight, DTensor) for weight in weights),
                    "parameters": len(weights),
                    "held": sum(held(weight) for weight in weights),
                    "whole": sum(weight.numel() for weight in weights),
                    "lines": [*made.run(until=HALF)],
                }
                again = Training(prepared, made.folder, world, kind, optimizer=optimizer)
                found[f"{kind}-{optimizer}"]["lines"] += again.resume().run()
            from_one = Training(prepared, folder / f"one-for-{kind}", world, kind, optimizer="adamw")
            found[f"{kind}-from-one"] = {"lines": from_one.resume().run()}
        straight = Training(prepared, folder / "dropout", world, "ddp", dropout=0.3)
        stopped = Training(prepared, folder / "dropout-stopped", world, "ddp", dropout=0.3)
        lines = stopped.run(until=HALF)
        torch.manual_seed(999)
        resumed = Training(prepared, folder / "dropout-stopped", world, "ddp", dropout=0.3)
        found["dropout"] = {"straight": straight.run(), "resumed": lines + resumed.resume().run()}
        if world.leads:
            (folder / "found.json").write_text(json.dumps(found), "utf-8")


def held(weight: torch.Tensor) -> int:
    """Numbers of this parameter that this process holds."""
    return weight.to_local().numel() if isinstance(weight, DTensor) else weight.numel()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    launch.leave(0)
