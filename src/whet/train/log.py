"""The record of a stage's training: one JSON line per logged step in `log.jsonl`, and TensorBoard's own format.

A resumed stage first drops the lines past its checkpoint, so a log never tells a step twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from whet import store

LOG = "log.jsonl"


class StageLog:
    """Open while a stage trains; `step` is where it resumes. `notice` is told of lines a crash has torn."""

    def __init__(self, folder: Path, step: int, notice: Callable[[str], None]) -> None:
        self.path = folder / LOG
        kept = [line for line in store.read_json_lines(self.path, notice) if line["step"] <= step]
        store.write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        with store.writing(folder):
            self._file = self.path.open("a", encoding="utf-8")
            self._board = _board(folder / "tensorboard", step)

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; flushed at once. Raises CannotWrite."""
        with store.writing(self.path.parent):
            self._file.write(json.dumps(record, allow_nan=False) + "\n")
            self._file.flush()
            for name, value in record.items():
                if name not in ("step", "best") and isinstance(value, int | float):
                    self._board.add_scalar(name, value, record["step"])

    def __enter__(self) -> StageLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with store.writing(self.path.parent), closing(self._board), closing(self._file):
            pass  # both, whatever the first one says


def _board(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
