"""`emit`: events by their declarations where the name is known, else anonymous ones with the first topic in the text."""

from __future__ import annotations

from itertools import combinations, islice
from typing import TypeVar

from whet.evm.keccak import keccak256
from whet.evm.solidity.abi import signature
from whet.evm.solidity.context import Context, Frame
from whet.evm.solidity.lowering import Lowering
from whet.evm.solidity.types import WORD_TYPE, in_memory
from whet.evm.terms import Emit

T = TypeVar("T")

MOST_WAYS = 256
"""Choices of indexed parameters that are looked at."""

_WORDS = ("uint256", "int256", "bytes32")
"""Types that any word fits."""


class Events(Lowering):
    """The forms `Emit`."""

    def __init__(self, context: Context, frame: Frame) -> None:
        super().__init__(context)
        self.frame = frame

    def emit(self, form: Emit) -> None:
        positions = self._indexed(form)
        if positions is None or not self._declare(form, positions):
            self._emit_anonymous(form)
            return
        args = _interleaved(form.args, form.indexed, positions)
        kinds = tuple(in_memory(kind) for kind in form.types)
        piece = self.whole(lambda: self.several(args, kinds))
        self.say(f"emit {form.event}({piece.text});", piece)

    def _indexed(self, form: Emit) -> tuple[int, ...] | None:
        """Which parameters are topics: the first ones, unless the arguments' own types fit others better. None where no
        event of that name can be declared."""
        natural = tuple(self.type_by_itself(arg) for arg in form.args) if form.event else ()
        topic = int.from_bytes(keccak256(signature(form.event, form.types).encode()), "big")
        if (
            not all(form.types)
            or topic != form.topic
            or form.event in self.frame.taken | self.frame.errors.keys()
        ):
            return None

        def misfits(positions: tuple[int, ...]) -> int:
            pairs = zip(_interleaved(natural, form.indexed, positions), form.types, strict=True)
            return sum(kind not in _WORDS and kind != have for have, kind in pairs)

        every_way = combinations(range(len(form.types)), form.indexed)
        return min(islice(every_way, MOST_WAYS), key=misfits)

    def _declare(self, form: Emit, positions: tuple[int, ...]) -> bool:
        """Whether the event is declared with these topics, and not with others."""
        declared = ", ".join(
            f"{kind}{' indexed' if place in positions else ''}" for place, kind in enumerate(form.types)
        )
        text = f"event {form.event}({declared});"
        return self.frame.events.setdefault(signature(form.event, form.types), text) == text

    def _emit_anonymous(self, form: Emit) -> None:
        """An event whose first topic stands in the text: nothing but the hash is known of its name."""
        name = f"Event_{form.topic >> 224:08x}"
        rest = [kind or WORD_TYPE for kind in form.types[form.indexed :]]
        kinds = ", ".join(["bytes32 indexed"] + ["uint256 indexed"] * form.indexed + rest)
        while True:
            text = f"event {name}({kinds}) anonymous;"
            if self.frame.events.setdefault(name, text) == text:
                break
            name += "_"
        wanted = (WORD_TYPE,) * form.indexed + tuple(in_memory(kind) for kind in rest)
        piece = self.whole(lambda: self.several(form.args, wanted))
        comma = ", " if piece.text else ""
        self.say(f"emit {name}(bytes32({form.topic:#066x}){comma}{piece.text});", piece)


def _interleaved(args: tuple[T, ...], indexed: int, positions: tuple[int, ...]) -> tuple[T, ...]:
    """Topics, which come first in a form, and data in the order of the declaration."""
    topics, data = iter(args[:indexed]), iter(args[indexed:])
    return tuple(next(topics if place in positions else data) for place in range(len(args)))
