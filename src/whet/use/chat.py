"""A conversation in the terminal with a model that was tuned on conversations.

Each turn asks with all that was said before, as the template writes it. A turn that would exceed the model's context
is refused, and said; nothing is forgotten in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from whet.errors import WhetError
from whet.models.generation import DecodingSettings
from whet.text.conversation import Message
from whet.use.model import OpenModel

FORGET, LEAVE = "/new", "/bye"


@dataclass(slots=True)
class Talk:
    """What was said so far, and how the model answers."""

    model: OpenModel
    decoding: DecodingSettings
    new_tokens: int
    system: str = ""
    seed: int = 42
    messages: list[Message] = field(default_factory=list)

    def answer(self, text: str, on_text: Callable[[str], None] | None = None) -> str:
        """Say something and get the answer. Raises WhetError, with the turn unsaid, if there is no room left for it."""
        said = [Message("system", self.system)] if self.system else []
        asked = [*said, *self.messages, Message("user", text)]
        ids = self.model.asked(asked)
        room = self.model.decoder.context - len(ids)
        if room < 1:
            raise WhetError(
                f"{len(ids):,} tokens of conversation exceed the model's context of {self.model.decoder.context:,}",
                where="chat",
                fix=f"{FORGET} begins a new one",
            )
        _, answer = self.model.write(
            ids, self.decoding, new_tokens=min(self.new_tokens, room), seed=self.seed, on_text=on_text
        )
        self.messages += [Message("user", text), Message("assistant", answer)]
        self.seed += 1
        return answer


def converse(talk: Talk, lines: Iterable[str], show: Callable[[str], None]) -> None:
    """Answer line after line until there are no more, or one says LEAVE; FORGET begins anew."""
    for line in lines:
        text = line.strip()
        if text == LEAVE:
            return
        if text == FORGET:
            talk.messages.clear()
            show("(a new conversation)\n")
        elif text:
            try:
                talk.answer(text, show)
            except WhetError as error:
                show(str(error))
            show("\n")
