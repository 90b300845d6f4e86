"""A tokenizer and a model that do not belong together: ids without rows, end tokens that are words, worse than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from whet.doctor.case import Case, Trained
from whet.doctor.finding import CannotLook, Check, Finding
from whet.text import tokenizer as tokenizers
from whet.text.tokenizer import Tokenizer

MISMATCH = "tokenizer mismatch"
EXPLAINS = (
    "loss flat", "loss rising", "loss spiking", "incoherent output", "looping output", "template mismatch", "stop tokens"
)  # fmt: skip
WORSE_THAN_CHANCE = 1.1
"""A base whose first loss is so many times that of guessing at random reads ids that mean something else to it."""


class TokenizerOfTheModel(Check):
    """Compares numbers of ids, the base's tokenizer with the one used, special ids, and the first loss of a base."""

    NAME = "tokenizer"
    SUMMARY = "tokenizer and model that disagree"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs a tokenizer and a config.json."""
        folder = _folder(case)
        tokenizer = tokenizers.load(folder)
        evidence = [*_beyond(case, tokenizer), *_ordinary(case, tokenizer), *_other(case, folder, tokenizer)]
        evidence = evidence or list(_first_loss(case))
        if evidence:
            yield Finding(
                name=MISMATCH,
                where=str(folder),
                evidence="; ".join(evidence),
                cause="the tokenizer's files are another model's, or were changed after the model was trained",
                todo="take the tokenizer that the model was saved with; for new tokens write model.new_tokens",
                explains=EXPLAINS,
            )


def _folder(case: Case) -> Path:
    """Where the tokenizer in question lies: of the model, of the run, else of the base."""
    if case.folder is not None and (case.folder / "prepared").exists():
        if any(one.record for one in _begun(case)):
            return case.result
        return case.folder / "prepared" / "tokenizer"
    if case.model is not None and (case.model / "tokenizer.json").exists():
        return case.model
    if case.recipe is not None and case.recipe.tuned is None:
        raise CannotLook("its tokenizer is not there yet (whet prepare)")
    return case.base


def _begun(case: Case) -> list[Trained]:
    try:
        return case.trained
    except CannotLook:
        return []


def _new(case: Case) -> int:
    """Tokens that were added to the base's, as a recipe or an adapter says."""
    if case.recipe is not None and case.recipe.tuned:
        return len(case.recipe.tuned.new_tokens)
    if case.model is not None and case.is_adapter:
        from whet.models.adapters import read

        return max((len(ids) for ids in read(case.model).token_ids.values()), default=0)
    return 0


def _beyond(case: Case, tokenizer: Tokenizer) -> Iterator[str]:
    rows = case.config.get("vocab_size")
    if isinstance(rows, int) and tokenizer.vocab_size - _new(case) > rows:
        yield f"the tokenizer has {tokenizer.vocab_size:,} ids, the model has rows for {rows:,}"


def _ordinary(case: Case, tokenizer: Tokenizer) -> Iterator[str]:
    """Ids that the model knows as special and the tokenizer as a piece of text."""
    added = tokenizer.backend.get_added_tokens_decoder()
    for role in ("bos", "eos", "pad"):
        given = case.config.get(f"{role}_token_id")
        for one in given if isinstance(given, list) else [given]:
            text = tokenizer.backend.id_to_token(one) if type(one) is int and 0 <= one < 2**32 else None
            if text is not None and one not in added and tokenizer.special_ids.get(role) != one:
                yield f"the model's {role} id {one} is the ordinary token {text!r} in this tokenizer"


def _other(case: Case, folder: Path, tokenizer: Tokenizer) -> Iterator[str]:
    """Ids that stand for other tokens than in the base's tokenizer."""
    try:
        base = case.base
    except CannotLook:
        return
    if base == folder or not (base / "tokenizer.json").exists():
        return
    original = tokenizers.load(base).backend
    theirs = original.get_vocab(with_added_tokens=True)
    ours = tokenizer.backend.get_vocab(with_added_tokens=True)
    added = {str(token.content) for token in original.get_added_tokens_decoder().values()}
    moved = [token for token, index in theirs.items() if ours.get(token, index) != index]
    missing = [token for token in theirs if token not in ours and token not in added]  # those may be left out
    if moved or missing:
        shown = ", ".join(repr(token) for token in [*moved, *missing][:3])
        yield f"{len(moved):,} tokens have other ids than in the base's tokenizer and {len(missing):,} are missing ({shown})"


def _first_loss(case: Case) -> Iterator[str]:
    """A base that reads its own ids starts below the loss of guessing; a random one starts at it."""
    if case.recipe is None or case.recipe.tuned is None or case.folder is None or not _begun(case):
        return
    rows, first = case.config.get("vocab_size"), case.trained[0]
    losses = [(line["step"], line["loss"]) for line in first.lines if isinstance(line.get("loss"), float)]
    if not losses or not isinstance(rows, int) or rows < 1 or losses[0][0] > 1:
        return
    chance = math.log(rows)
    if losses[0][1] > WORSE_THAN_CHANCE * chance:
        yield (
            f"{first.name}: the base begins at a loss of {losses[0][1]:.2f} nats, guessing among its {rows:,} ids "
            f"would be at {chance:.2f}"
        )
