"""Where a slot is read or written as a whole word, though the variable in it has fewer bits.

The compiler takes a variable out of its slot by a mask, and replaces its bits alone. Code that works on slots itself does
neither: `sstore(slot, 0)` clears what lies beside the variable too, `sload(slot)` compared with 0 sees it. Such a place is no
assignment and no reading of the variable.
"""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.bits import Bits
from whet.evm.meaning.base import Place
from whet.evm.solidity.storage import bytes_in_slot
from whet.evm.solidity.types import is_value
from whet.evm.tac import WORD, Function, Operand, Statement
from whet.evm.terms import Assign, Form


def as_words(function: Function, forms: Mapping[Place, Form], types: Mapping[Place, str]) -> set[Place]:
    """The SLOADs and SSTOREs whose form speaks of fewer bits than they read or write. types: of the variables that they
    read or write, by place."""
    masks = {p: (1 << 8 * bytes_in_slot(kind)) - 1 for p, kind in types.items() if is_value(kind)}
    narrow = {place: mask for place, mask in masks.items() if mask != WORD and place[1] >= 0}
    if not narrow:
        return set()
    bits = Bits(function, {place: mask for place, mask in narrow.items() if isinstance(forms[place], Assign)})
    return {
        place
        for place, mask in narrow.items()
        if _beside(bits, function.blocks[place[0]].statements[place[1]], forms[place], mask)
    }


def _beside(bits: Bits, s: Statement, form: Form, mask: int) -> bool:
    """Whether a reading or a writing of storage is of more than those bits."""
    if s.op in ("SSTORE", "TSTORE"):
        return isinstance(form, Assign) and _replaces(bits, s.args[1], mask)
    return s.op in ("SLOAD", "TLOAD") and bits.asked(s.results[0]) & ~mask != 0


def _replaces(bits: Bits, word: Operand, mask: int) -> bool:
    """Whether a word that is stored keeps nothing of what lies beside those bits."""
    maker = bits.makers.get(word) if isinstance(word, str) else None
    copied = maker is not None and maker.op in ("SLOAD", "TLOAD")
    return copied or bits.width(word) <= mask.bit_length()
