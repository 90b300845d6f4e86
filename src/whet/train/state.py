"""Checkpoints: everything that decides the next step, saved whole or not at all, and read back bit for bit.

A checkpoint is an artefact folder `step-00000123/`: `model.safetensors`, `optimizer.safetensors` (optimiser
state and the random number generators), and a record (step, tokens, seconds, best validation). The data
order needs no state: it is a function of the step. A damaged checkpoint is refused by name and the next
older one is used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from whet import store
from whet.errors import ArtefactError, NotOurs
from whet.models.decoder import Decoder
from whet.progress import Reporter
from whet.train.optim import Optimizer

KIND = "checkpoint"
BEST = "best"


@dataclass(slots=True)
class Progress:
    """How far a stage has come. `step` counts finished optimiser steps."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_loss: float | None = None
    validation_due: bool = False
    """A stop came before this step was validated; the resumed training does that first."""


def weights_of(decoder: Decoder) -> dict[str, torch.Tensor]:
    """Every parameter once (tied ones under their first name), contiguous."""
    return {name: weight.detach().contiguous() for name, weight in decoder.model.named_parameters()}


def save(folder: Path, decoder: Decoder, optimizer: Optimizer, progress: Progress, key: str) -> Path:
    """Write `folder/step-XXXXXXXX` and return it."""
    target = folder / f"step-{progress.step:08d}"
    with store.staged(target, kind=KIND, key=key, record=asdict(progress)) as work:
        save_file(weights_of(decoder), work / "model.safetensors")
        save_file({**optimizer.state_tensors(), **_generators(decoder)}, work / "optimizer.safetensors")
    return target


def save_best(folder: Path, decoder: Decoder, progress: Progress, key: str) -> None:
    """Keep the weights of the lowest validation loss so far in `folder/best`."""
    with store.staged(folder / BEST, kind=BEST, key=key, record=asdict(progress)) as work:
        save_file(weights_of(decoder), work / "model.safetensors")


def restore(
    folder: Path, decoder: Decoder, optimizer: Optimizer, key: str, reporter: Reporter
) -> Progress | None:
    """Load the newest whole checkpoint; damaged ones are named and passed over. None where there is none.

    Raises ArtefactError if the checkpoints belong to other settings or hold what this whet did not write.
    """
    damaged = []
    for found in sorted(folder.glob("step-*"), reverse=True):
        try:
            artefact = store.open_artefact(found, KIND)
        except NotOurs:
            raise
        except ArtefactError as error:
            damaged.append(found.name)
            reporter.notice(f"checkpoint passed over, {error}")
            continue
        if artefact.key != key:
            raise ArtefactError(
                "this checkpoint belongs to other settings",
                where=str(found),
                fix="use --force to start this stage over, or another name for the run",
            )
        _load(artefact.folder, decoder, optimizer)
        return Progress(**artefact.record)
    if damaged:
        raise ArtefactError(
            f"no checkpoint is whole (damaged: {', '.join(damaged)})",
            where=str(folder),
            fix="use --force to start this stage over",
        )
    return None


def load_best(folder: Path, decoder: Decoder, key: str) -> Progress | None:
    """Load the best weights of this training; None where none were kept. Raises ArtefactError for damaged ones."""
    if not (folder / BEST).exists():
        return None
    try:
        artefact = store.open_artefact(folder / BEST, BEST)
    except NotOurs:
        raise
    except ArtefactError as error:
        fix = f"remove {folder / BEST}: the last weights become the result; or train again with --force"
        raise ArtefactError(error.what, where=error.where, fix=fix) from error
    if artefact.key != key:
        return None
    _load_weights(artefact.folder / "model.safetensors", decoder)
    return Progress(**artefact.record)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for old in sorted(folder.glob("step-*"))[:-keep]:
        store.remove(old)


def _load(folder: Path, decoder: Decoder, optimizer: Optimizer) -> None:
    _load_weights(folder / "model.safetensors", decoder)
    tensors = load_file(folder / "optimizer.safetensors")
    torch.set_rng_state(tensors.pop("rng/cpu"))
    cuda = tensors.pop("rng/cuda", None)
    if cuda is not None and decoder.device.type == "cuda":
        torch.cuda.set_rng_state(cuda, decoder.device)
    optimizer.load_state_tensors(tensors)


def _load_weights(path: Path, decoder: Decoder) -> None:
    saved = load_file(path)
    named = dict(decoder.model.named_parameters())
    assert saved.keys() == named.keys(), "a checkpoint with this key has this model's parameters"
    with torch.no_grad():
        for name, weight in named.items():
            weight.copy_(saved[name])


def _generators(decoder: Decoder) -> dict[str, Any]:
    states = {"rng/cpu": torch.get_rng_state()}
    if decoder.device.type == "cuda":
        states["rng/cuda"] = torch.cuda.get_rng_state(decoder.device)
    return states
