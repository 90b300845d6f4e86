"""What training will really read: packed rows token by token, and what was dropped or changed on the way.

`preview` builds plain data from a prepared folder, `render` prints it in colour, `as_json` gives it to
scripts. Material is shown, never obeyed: control characters, terminal escapes, markup and characters that
turn or hide text appear as visible signs. Rows are those of the first steps of the stage, as its packing
and order make them; learning masks other than the packing's own are not known here.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from whet import packing, store
from whet.errors import DataError
from whet.packing import IGNORED, Batch
from whet.prepare.split import SIDES
from whet.progress import amount
from whet.recipe.schema import Recipe, Stage
from whet.text import tokenizer as tokenizers
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


@dataclass(frozen=True, slots=True)
class PreviewToken:
    """One token of a piece. `text` is "" where it is the beginning of a character that a later one ends."""

    id: int
    text: str
    special: bool
    read: bool
    """Whether it is an input of the row; the last token of a piece is only a label."""
    learned: bool
    """Whether the model is trained to produce it here; the first token of a piece never is."""


@dataclass(frozen=True, slots=True)
class PreviewPiece:
    """A stretch of one document within a row, with the label of its last position."""

    origin: str
    language: str
    begins: bool
    """Whether the document begins here; otherwise this piece goes on where another row's ended."""
    ends: bool
    tokens: tuple[PreviewToken, ...]


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One packed row. Attention never crosses from one of its pieces to another."""

    stage: str
    split: str
    row: int
    length: int
    padding: int
    pieces: tuple[PreviewPiece, ...]

    @property
    def learned(self) -> int:
        """Positions with a label."""
        return sum(token.learned for piece in self.pieces for token in piece.tokens)


@dataclass(frozen=True, slots=True)
class Packed:
    """How a stage's split is laid out in rows."""

    stage: str
    split: str
    rows: int
    length: int
    filled_share: float
    overflow: str
    documents_over: int
    tokens_cut: int


@dataclass(frozen=True, slots=True)
class Preview:
    """Rows to look at, and the prepared folder's record for the tables."""

    rows: tuple[PreviewRow, ...]
    packed: tuple[Packed, ...]
    stages: tuple[dict[str, Any], ...]
    vocab_size: int
    notices: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for scripts. Texts are as they are in the material: escape them before showing them."""
        return asdict(self)


def preview(
    prepared: store.Artefact,
    recipe: Recipe,
    *,
    stage: str | None = None,
    split: str = "train",
    rows: int = 3,
    seed: int | None = None,
) -> Preview:
    """The first `rows` rows of a stage (None: of each) in the order of `seed` (None: the recipe's).

    Raises DataError if there is no such stage or split, or if the split holds nothing to learn from.
    """
    chosen = [item for item in recipe.stages if stage in (None, item.name)]
    if not chosen or split not in SIDES:
        names = ", ".join([*(item.name for item in recipe.stages), *SIDES])
        raise DataError(f"no stage {stage!r} or no split {split!r}", fix=f"there are: {names}")
    tokenizer = tokenizers.load(prepared.folder / "tokenizer")
    seed = recipe.seed if seed is None else seed
    shown = [_stage_rows(prepared, item, split, rows, seed, tokenizer) for item in chosen]
    names = {item.name for item in chosen}
    return Preview(
        rows=tuple(row for found, _ in shown for row in found),
        packed=tuple(packed for _, packed in shown),
        stages=tuple(item for item in prepared.record["stages"] if item["name"] in names),
        vocab_size=tokenizer.vocab_size,
        notices=tuple(prepared.record["notices"]),
    )


def _stage_rows(
    prepared: store.Artefact, stage: Stage, split: str, count: int, seed: int, tokenizer: Tokenizer
) -> tuple[list[PreviewRow], Packed]:
    assert stage.sequence_length is not None
    found = TokenStore.open(prepared.folder / stage.name / split, tokenizer.vocab_size)
    rows = packing.plan_rows(found, stage.sequence_length, stage.overflow)
    packed = Packed(
        stage=stage.name,
        split=split,
        rows=len(rows),
        length=rows.length,
        filled_share=rows.filled_share,
        overflow=stage.overflow,
        **rows.pieces.overflow,
    )
    chosen = packing.row_at(len(rows), seed, 0, min(count, len(rows))) if count > 0 else np.zeros(0, np.int64)
    batches = [packing.batch_of(found, rows, [int(row)], tokenizer.special_ids["pad"]) for row in chosen]
    about = _about(found, {document for batch in batches for document in batch.documents})
    reader = _Reader(tokenizer)
    shown = [
        PreviewRow(
            stage=stage.name,
            split=split,
            row=int(row),
            length=rows.length,
            padding=int((batch.segments == 0).sum()),
            pieces=tuple(_pieces(batch, found, about, reader)),
        )
        for row, batch in zip(chosen, batches, strict=True)
    ]
    return shown, packed


def _about(found: TokenStore, wanted: set[int]) -> dict[int, dict[str, Any]]:
    last = max(wanted, default=-1)
    return {at: about for at, about in enumerate(islice(found.origins(), last + 1)) if at in wanted}


def _pieces(
    batch: Batch, found: TokenStore, about: dict[int, dict[str, Any]], reader: _Reader
) -> Iterator[PreviewPiece]:
    for segment, document in enumerate(batch.documents, start=1):
        (at,) = np.nonzero(batch.segments[0] == segment)
        inputs, labels = batch.inputs[0, at].tolist(), batch.labels[0, at].tolist()
        whole = found.document(document)
        yield PreviewPiece(
            origin=about[document]["origin"],
            language=about[document]["language"],
            begins=inputs == whole[: len(inputs)].tolist(),
            ends=labels == whole[-len(labels) :].tolist(),
            tokens=tuple(reader.tokens(inputs, labels)),
        )


class _Reader:
    """Ids to what a person reads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.contents, self.special = tokenizer.token_contents(), tokenizer.special_tokens

    def tokens(self, inputs: list[int], labels: list[int]) -> Iterator[PreviewToken]:
        """The inputs, and after them the label of the last one if it is learned."""
        learned = [False, *(label != IGNORED for label in labels)]
        ids = [*inputs, *labels[-1:]] if learned[-1] else inputs
        text = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        for at, token in enumerate(ids):
            special, last = token in self.special, at == len(ids) - 1
            shown = text.decode(self.contents[token], final=special or last)
            if special:
                shown += self.special[token]
            yield PreviewToken(token, shown, special, at < len(inputs), learned[at])
