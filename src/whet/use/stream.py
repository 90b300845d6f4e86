"""What a model writes, as text while it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whet.models.generation import before_stop
from whet.text.tokenizer import Tokenizer

OnText = Callable[[str], None]


class Stream:
    """Turns ids into text as soon as they make whole characters that cannot be the beginning of a stop text."""

    def __init__(
        self, tokenizer: Tokenizer, on_text: OnText, stop: Sequence[str], around: tuple[str, str] = ("", "")
    ) -> None:
        """`around`: what is shown before the first piece and after the last one."""
        self.tokenizer, self.on_text, self.stop = tokenizer, on_text, stop
        self._before, self._after = around
        self._ids: list[int] = []
        self._shown = 0

    def put(self, ids: list[int]) -> None:
        """Show what these ids add."""
        self._ids += ids
        text = self.tokenizer.decode(self._ids)
        whole = text[:-1] if text.endswith("�") else text
        self._show(whole[: len(whole) - self._begun(whole)])

    def end(self) -> None:
        """Show what was held back."""
        self._show(self.tokenizer.decode(self._ids))
        if self._before or self._after:  # not a token may have been written
            self.on_text(self._before + self._after)

    def _begun(self, text: str) -> int:
        """Characters at the end that may become a stop text."""
        lengths = (size for one in self.stop for size in range(1, len(one)) if text.endswith(one[:size]))
        return max(lengths, default=0)

    def _show(self, text: str) -> None:
        text = before_stop(text, self.stop)
        if len(text) > self._shown:
            self.on_text(self._before + text[self._shown :])
            self._before, self._shown = "", len(text)
