"""One stage's training loop in process, with everything it logs in lists; and integers to train it on.

The integers come from a formula, so that they depend on no tokenizer, no library and no random generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from tests.train.test_optim import stage
from whet import store
from whet.fill_in_the_middle import Arranger, arranger_for
from whet.models.build import new_model
from whet.models.decoder import Decoder
from whet.models.shape import Shape
from whet.objectives.pretrain import Pretrain
from whet.progress import Reporter, Task
from whet.recipe.schema import Stage
from whet.text import tokenizer as tokenizers
from whet.tokenstore import TokenWriter
from whet.train import state
from whet.train.data import TrainingData
from whet.train.guards import StopRequest
from whet.train.loop import Loop
from whet.train.optim import Optimizer
from whet.train.sharding import Sharding
from whet.train.state import Progress
from whet.train.world import ALONE

VOCAB = 420
SHAPE = Shape(
    norm="rmsnorm", positions="rope", d_model=32, layers=2, heads=2, d_ff=64, context=64, vocab_size=VOCAB
)
SPECIAL = {"pad": 0, "bos": 2, "eos": 3}
CPU = torch.device("cpu")


def write_integers(folder: Path, *, shortest: int = 20, longest: int = 44) -> Path:
    """Documents of uneven lengths as `folder/first/{train,validation}`: 40 and 6 of them, a function of nothing."""
    drawn = 1
    for side, count in (("train", 40), ("validation", 6)):
        writer = TokenWriter(folder / "first" / side, VOCAB)
        for number in range(count):
            drawn = (drawn * 1103515245 + 12345) % 2**31
            length, first, by = (
                shortest + (drawn >> 8) % (longest - shortest),
                drawn >> 9,
                1 + (drawn >> 20) % 7,
            )
            body = [4 + (first + by * at + at * at // 5) % (VOCAB - 4) for at in range(length)]
            about = {"origin": f"integers/{side}/{number}", "group": str(number), "language": None}
            writer.add([SPECIAL["bos"], *body, SPECIAL["eos"]], text_bytes=length, about=about)
        writer.finish()
        writer.close()
    return folder


class StopAt(StopRequest):
    """Asks to stop once the loop has finished a step."""

    def __init__(self, progress: Progress, step: int) -> None:
        self.progress, self.step = progress, step

    @property
    def asked(self) -> str | None:  # type: ignore[override]
        return "test" if self.progress.step >= self.step else None


def _arranger(tokens: Path, settings: Stage) -> Arranger | None:
    """For fill-in-the-middle; then `tokens` has the tokenizer too."""
    asked = settings.fill_in_the_middle
    return arranger_for(asked, tokenizers.load(tokens / "tokenizer"), 3, "first") if asked else None


class Bench:
    """One stage's loop over prepared tokens. `prepared` has `first/train` and `first/validation`."""

    def __init__(
        self,
        prepared: store.Artefact | Path,
        folder: Path,
        settings: Stage,
        *,
        steps: int,
        dtype: torch.dtype = torch.float32,
        shape: Shape = SHAPE,
        precision: str = "fp32",
    ) -> None:
        torch.manual_seed(11)
        self.folder, self.settings = folder, settings
        self.decoder: Decoder = new_model(shape, SPECIAL, seed=5, device=CPU, precision=precision)
        self.decoder.model.to(dtype)
        if settings.gradient_checkpointing:
            self.decoder.use_gradient_checkpointing()
        self.optimizer = Optimizer(self.decoder, settings)
        self.progress = Progress()
        self.lines: list[dict[str, Any]] = []
        self.notices: list[str] = []
        tokens = prepared if isinstance(prepared, Path) else prepared.folder
        data = {
            side: TrainingData(
                tokens / "first" / side,
                settings,
                vocab_size=VOCAB,
                pad_id=0,
                seed=3,
                arranger=_arranger(tokens, settings) if side == "train" else None,
            )
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
            sharding=Sharding(self.decoder, ALONE, "ddp"),
            log=self.lines.append,
            notice=self.notices.append,
            save=self.save,
            save_best=lambda: state.save_best(folder, self.decoder, self.progress, "key"),
        )

    def save(self) -> None:
        state.save(self.folder, self.decoder, self.optimizer, self.progress, "key")

    def resume(self) -> None:
        found = state.restore(self.folder, self.decoder, self.optimizer, "key", Reporter())
        assert found is not None
        for field in fields(found):
            setattr(self.progress, field.name, getattr(found, field.name))

    def run(self, until: int | None = None, stop: StopRequest | None = None) -> bool:
        asked = StopAt(self.progress, until) if until is not None else stop or StopRequest()
        return self.loop.run(Task("", None), asked)

    def before_micro_batch(self, number: int, act: Callable[[], None]) -> None:
        """Call `act` right before the loss of the `number`th micro-batch (1-based) from now on."""
        loss_sum, count = self.loop.objective.loss_sum, 0

        def counting(model: Decoder, batch: Any) -> torch.Tensor:
            nonlocal count
            count += model.model.training
            if model.model.training and count == number:
                act()
            return loss_sum(model, batch)

        self.loop.objective.loss_sum = counting  # type: ignore[method-assign]

    def figures(self) -> list[tuple[Any, ...]]:
        return [
            (line["step"], line.get("loss"), line.get("grad_norm"), line.get("validation_loss"))
            for line in self.lines
        ]

    def losses(self) -> list[float]:
        """Training loss of each step."""
        return [line["loss"] for line in self.lines if "loss" in line]


def settings(**more: Any) -> Stage:
    given: dict[str, Any] = {
        "name": "first", "sequence_length": 48, "batch_size": 4, "log_every": 1, "evaluate_every": 3,
        "save_every": 100, "learning_rate": 5e-3, "warmup_steps": 2,
    }  # fmt: skip
    return stage(**{**given, **more})


def plain_mask(segments_BL: torch.Tensor) -> torch.Tensor:
    """Written apart from whet's: True (B, 1, L, L) where row position i may see j."""
    length = segments_BL.shape[1]
    earlier = torch.arange(length)[:, None] >= torch.arange(length)[None, :]
    return (segments_BL[:, :, None] == segments_BL[:, None, :]).logical_and(earlier)[:, None]
