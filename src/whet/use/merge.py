"""An adapter merged into its base: a model folder of its own, checked against what it was made from.

What it is checked on: beginnings of the run's held-out documents; for a folder without a run, random ids.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import numpy as np

from whet import hardware, store
from whet.errors import ArtefactError
from whet.models import hub, tuned
from whet.models import merge as merging
from whet.models.hub import Say
from whet.models.merge import Comparison
from whet.models.tuned import how_held
from whet.progress import aside
from whet.text import tokenizer as tokenizers
from whet.tokenstore import TokenStore
from whet.use.choose import choose_model, choose_type

ROWS, ROW_TOKENS = 16, 256
"""How much held-out text the two are compared on: documents, and tokens of each."""


def merge(
    target: str | Path,
    to: str | Path,
    *,
    stage: str | None = None,
    save_as: str = "bf16",
    device: str = "auto",
    say: Say = aside,
) -> Comparison:
    """Merge the adapter of a run (of its last finished stage, or of `stage`), or the one in a folder, into its base.

    Writes the whole model to `to`, with weights in bf16, fp16 or fp32; returns how close the two are.
    Raises ArtefactError if there is no adapter, if its base is not the one it was made for, or if the result
    computes something else; then nothing is written.
    """
    to, kind = Path(os.path.expanduser(to)), choose_type(save_as, "save_as")
    model_folder = choose_model(Path(target), stage).resolve()
    if not tuned.is_adapter(model_folder):
        raise ArtefactError(
            "holds no adapter; a model of which every weight was tuned is whole as it is",
            where=str(model_folder),
        )
    if to.exists():
        raise ArtefactError("is there already", where=str(to), fix="choose another folder with --to")
    about = tuned.base_of(model_folder)
    base = hub.of(about, say=say)
    tuned.require_same_base(about, base, model_folder)
    chosen = hardware.choose_device(device)
    precision = about.precision or hardware.choose_precision("auto", chosen)[0]
    return merging.merge(
        base,
        model_folder,
        to,
        weights=how_held(about),
        precision=precision,
        save_as=kind,
        held_out=held_out(model_folder, tuned.tokenizer_folder(model_folder, base)),
        device=chosen,
        base_name=about.base,
        say=say,
    )


def held_out(model_folder: Path, tokenizer_folder: Path) -> list[list[int]]:
    """Beginnings of the run's held-out documents; of a folder without a run, ids spread over the vocabulary."""
    tokenizer = tokenizers.load(tokenizer_folder)
    stage = model_folder.parent.name
    prepared = model_folder.parent.parent.parent / "prepared"
    if (model_folder / store.MANIFEST).exists() and (prepared / stage).is_dir():
        for side in ("test", "validation", "train"):
            opened = TokenStore.open(prepared / stage / side, tokenizer.vocab_size)
            rows = (opened.document(number)[:ROW_TOKENS].tolist() for number in range(len(opened)))
            found = list(islice((row for row in rows if len(row) > 1), ROWS))
            if found:
                return found
    spread = np.random.default_rng(0).integers(0, tokenizer.vocab_size, (ROWS, 64))
    return [[int(index) for index in row] for row in spread]
