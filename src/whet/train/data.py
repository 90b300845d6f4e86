"""Micro-batches for every step: a pure function of (seed, step), with no state to save or lose."""

from __future__ import annotations

from pathlib import Path

from whet import packing
from whet.fill_in_the_middle import RESERVE, Arranger, Outcomes
from whet.packing import Batch, Rows
from whet.recipe.schema import Stage
from whet.tokenstore import Int64, TokenStore

COUNTED_PIECES = 20_000
"""Of how many pieces the outcomes of fill-in-the-middle are counted after training (about ten seconds)."""


class TrainingData:
    """The rows of one stage's split in their seeded order. The step number is the whole cursor.

    With an `arranger`, pieces are rearranged for fill-in-the-middle, otherwise in every epoch.
    """

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        *,
        vocab_size: int,
        pad_id: int,
        seed: int,
        arranger: Arranger | None = None,
    ) -> None:
        assert stage.sequence_length is not None
        self.store = TokenStore.open(folder, vocab_size)
        reserve = RESERVE if arranger else 0
        self.rows: Rows = packing.plan_rows(self.store, stage.sequence_length, stage.overflow, reserve)
        self.stage, self.pad_id, self.seed, self.arranger = stage, pad_id, seed, arranger

    def step(self, step: int) -> list[Batch]:
        """The micro-batches of optimiser step `step` (0-based)."""
        size, parts = self.stage.batch_size, self.stage.accumulation
        chosen, epochs = self._chosen(step * size * parts, size * parts)
        return [
            packing.batch_of(
                self.store,
                self.rows,
                chosen[at : at + size],
                self.pad_id,
                self.arranger.rewrite(self.store, epochs[at : at + size]) if self.arranger else None,
            )
            for at in range(0, len(chosen), size)
        ]

    def _chosen(self, cursor: int, size: int) -> tuple[Int64, list[int]]:
        """The rows at cursor .. cursor + size, and the epoch that each of them belongs to."""
        chosen = packing.row_at(len(self.rows), self.seed, cursor, size)
        return chosen, [(cursor + at) // len(self.rows) for at in range(size)]

    def outcomes(self, steps: int) -> Outcomes | None:
        """What fill-in-the-middle did to the pieces of the first steps: of all `steps`, or of `COUNTED_PIECES`.

        Computed anew, not collected while training, so that it is the same after a stop and a resume.
        """
        if self.arranger is None:
            return None
        found = Outcomes()
        for cursor in range(steps * self.stage.batch_size * self.stage.accumulation):
            if found.pieces >= COUNTED_PIECES:
                break
            (row,), (epoch,) = self._chosen(cursor, 1)
            pieces = self.rows.order[self.rows.bounds[row] : self.rows.bounds[row + 1]].tolist()
            found.add(self.arranger.count(self.store, self.rows, pieces, epoch))
        return found

    def in_order(self, max_tokens: int) -> list[Batch]:
        """Whole batches in a fixed shuffled order with about `max_tokens` labels (at least one): for validation."""
        count = max(1, min(len(self.rows), max_tokens // self.rows.length))
        chosen = packing.epoch_order(len(self.rows), self.seed, 0)[:count]
        size = self.stage.batch_size
        return [
            packing.batch_of(self.store, self.rows, chosen[at : at + size], self.pad_id)
            for at in range(0, count, size)
        ]

    def names(self, batches: list[Batch], limit: int = 8) -> list[str]:
        """Origins of the documents in these batches, for messages."""
        wanted = sorted({document for batch in batches for document in batch.documents})
        origins = [
            about["origin"]
            for index, about in enumerate(self.store.origins())
            if index in set(wanted[:limit])
        ]
        return [*origins, *([f"and {len(wanted) - limit} more"] if len(wanted) > limit else [])]
