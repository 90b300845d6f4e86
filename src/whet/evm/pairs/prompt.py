"""A pair as it is asked: one format, described to the letter in docs/pairs.md.

Known metadata, the emitter's Solidity, storage, called functions, and last the function itself. The function must fit into
the budget; of the rest stays what fits, the nearest first, and what does not is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from whet.evm.pairs.nouns import PLACE, Pair, View
from whet.evm.text import count_tokens

Metadata = Literal["shown", "hidden"]

TASK = {
    "shown": "Write the Solidity of the function, whose signature is known.",
    "hidden": "Write the Solidity of the function, whose signature is not known.",
}
"""What stands before every prompt."""

NOT_EMITTED = "the emitter's Solidity is not there"
NO_ROOM_EMITTED = "the emitter's Solidity left out: no room"
NO_ROOM_STORAGE = "storage left out: no room"
NO_ROOM_CALLED = "called functions left out: no room"
LEFT_OUT = (NOT_EMITTED, NO_ROOM_EMITTED, NO_ROOM_STORAGE, NO_ROOM_CALLED)
"""Every reason for which a prompt shows less than there is."""

EMITTED, STORAGE, CALLED, FUNCTION = "// emitter", "// storage", "// called", "// function"
"""The line above each part."""

_DECLARED = re.compile(r"(\w+); // slot")


@dataclass(frozen=True, slots=True)
class Prompt:
    """task: one of TASK; text: what is asked; left_out: of LEFT_OUT, each once."""

    task: str
    text: str
    left_out: tuple[str, ...]


def prompt(pair: Pair, metadata: Metadata, budget: int, *, emitted: bool = False) -> Prompt | None:
    """What is asked of a pair; None where the function alone does not fit.

    budget: tokens (`whet.evm.text.count_tokens`) of the text. emitted: whether the emitter's Solidity is part of it.
    """
    view, facts = (pair.shown, told(pair)) if metadata == "shown" else (pair.hidden, "")
    return asked(view, facts, budget, emitted=emitted)


def asked(view: View, facts: str, budget: int, *, emitted: bool = False) -> Prompt | None:
    """What is asked of a function, also of one that is no pair. facts: as `metadata_lines` writes them, "" if hidden."""
    return _Writing(view, budget).prompt(TASK["shown" if facts else "hidden"], facts, emitted)


def told(pair: Pair) -> str:
    """A pair's metadata, a line each."""
    return metadata_lines(pair.signature, pair.visibility, pair.mutability)


def metadata_lines(signature: str, visibility: str, mutability: str) -> str:
    """A function's metadata, a line each."""
    facts = {"signature": signature, "visibility": visibility, "mutability": mutability}
    return "\n".join(f"// {name}: {value}" for name, value in facts.items())


class _Writing:
    """Takes what fits. Costs are those of each part by itself, so that the whole is never above the budget."""

    def __init__(self, view: View, budget: int) -> None:
        self.view, self.left = view, budget
        self.left_out: list[str] = []

    def prompt(self, task: str, facts: str, emitted: bool) -> Prompt | None:
        function = f"{FUNCTION}\n{self.view.tac}"
        if not self._fits(f"{facts}\n\n{function}"):
            return None
        solidity = self._emitted() if emitted else ""
        storage = self._storage(self.view.tac, [])
        called = self._called(storage)
        parts = [facts, solidity, _part(STORAGE, "\n", storage), _part(CALLED, "\n\n", called), function]
        text = "\n\n".join(part for part in parts if part)
        return Prompt(task, text, tuple(dict.fromkeys(self.left_out)))

    def _emitted(self) -> str:
        text = f"{EMITTED}\n{self.view.emitted}"
        if not self.view.emitted:
            self.left_out.append(NOT_EMITTED)
        elif self._fits(f"{text}\n\n"):
            return text
        else:
            self.left_out.append(NO_ROOM_EMITTED)
        return ""

    def _storage(self, text: str, shown: list[str]) -> list[str]:
        """The declarations of what a text names, as many as fit."""
        found: list[str] = []
        words = set(re.findall(r"\w+", text))
        for line in self.view.storage:
            name = _DECLARED.search(line)
            if name and name[1] in words and line not in shown:
                if self._fits(f"\n{line}" if shown or found else f"{STORAGE}\n{line}\n\n"):
                    found.append(line)
                else:
                    self.left_out.append(NO_ROOM_STORAGE)
        return found

    def _called(self, storage: list[str]) -> list[str]:
        """Called functions until one does not fit; what they name of the storage joins `storage`."""
        found: dict[str, str] = {}
        for name, text in self.view.called.items():
            if not self._fits(f"{'' if found else CALLED}\n\n{text}\n\n"):
                break
            found[name] = text
            storage += self._storage(text, storage)
        named = set(PLACE.findall("\n".join([self.view.tac, *found.values()]))) - _own(self.view.tac)
        if len(found) < len(self.view.called) or named - found.keys():
            self.left_out.append(NO_ROOM_CALLED)
        return list(found.values())

    def _fits(self, text: str) -> bool:
        tokens = count_tokens(text)
        if tokens > self.left:
            return False
        self.left -= tokens
        return True


def _part(heading: str, between: str, texts: list[str]) -> str:
    return f"{heading}\n{between.join(texts)}" if texts else ""


def _own(tac: str) -> set[str]:
    """The name in a function's own header."""
    return set(PLACE.findall(next((line for line in tac.split("\n") if line.startswith("function ")), "")))
