"""Micro-batches for every step: a pure function of (seed, step), with no state to save or lose."""

from __future__ import annotations

from pathlib import Path

from whet import packing
from whet.launch import ALONE, Launch
from whet.packing import Batch, Rows
from whet.recipe.schema import Stage
from whet.tokenstore import Int64, TokenStore


class TrainingData:
    """The rows of one stage's split in their seeded order. The step number is the whole cursor."""

    def __init__(
        self,
        folder: Path,
        stage: Stage,
        *,
        vocab_size: int,
        pad_id: int,
        seed: int,
        launch: Launch = ALONE,
    ) -> None:
        assert stage.sequence_length is not None
        self.store = TokenStore.open(folder, vocab_size)
        self.rows: Rows = packing.plan_rows(self.store, stage.sequence_length, stage.overflow)
        self.stage, self.pad_id, self.seed, self.launch = stage, pad_id, seed, launch

    def step(self, step: int) -> list[Batch]:
        """The micro-batches of optimiser step `step` (0-based) that are this process's.

        The rows of a step, in their order, are dealt out one micro-batch at a time: two processes with one
        micro-batch each learn from the rows of one process with two.
        """
        mine = self._rows(step).reshape(-1, self.stage.batch_size)[self.launch.rank :: self.launch.size]
        return [packing.batch_of(self.store, self.rows, chosen, self.pad_id) for chosen in mine]

    def _rows(self, step: int) -> Int64:
        """The rows of a step, over all micro-batches and processes."""
        per_step = self.stage.batch_size * self.stage.accumulation * self.launch.size
        return packing.row_at(len(self.rows), self.seed, step * per_step, per_step)

    def in_order(self, max_tokens: int) -> list[Batch]:
        """Whole batches in a fixed shuffled order with about `max_tokens` labels (at least one): for validation."""
        count = max(1, min(len(self.rows), max_tokens // self.rows.length))
        chosen = packing.epoch_order(len(self.rows), self.seed, 0)[:count]
        size = self.stage.batch_size
        return [
            packing.batch_of(self.store, self.rows, chosen[at : at + size], self.pad_id)
            for at in range(0, count, size)
        ]

    def names(self, step: int, limit: int = 8) -> list[str]:
        """Origins of the documents in a step, over all processes, for messages."""
        whole_step = packing.batch_of(self.store, self.rows, self._rows(step), self.pad_id)
        wanted = sorted(set(whole_step.documents))
        origins = [
            about["origin"]
            for index, about in enumerate(self.store.origins())
            if index in set(wanted[:limit])
        ]
        return [*origins, *([f"and {len(wanted) - limit} more"] if len(wanted) > limit else [])]
