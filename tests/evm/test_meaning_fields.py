"""What is told from the words that are stored: a value of its own, a part of a word, bits that code packs itself."""

from __future__ import annotations

import pytest

from whet.evm.meaning.stores import keeps_bits, written_how
from whet.evm.meaning.symbols import Symbols, Word
from whet.evm.tac import WORD

_ADDRESS = (1 << 160) - 1


def _replaced(symbols: Symbols, slot: int, value: Word, low: int, high: int) -> Word:
    """`sload(slot) & keep | value << low`, as a field of a packed word is written."""
    hole = (1 << high) - (1 << low)
    kept = symbols.operation("AND", (WORD ^ hole, symbols.node("SLOAD", slot, 1)))
    return symbols.operation("OR", (symbols.operation("SHL", (low, value)), kept))


def test_a_value_without_the_old_word_is_the_whole_of_its_own() -> None:
    symbols = Symbols()
    argument = symbols.node("CALLDATALOAD", 4)
    assert written_how(argument) == "whole"
    assert written_how(symbols.operation("AND", (_ADDRESS, argument))) == "narrow"
    assert written_how(_replaced(symbols, 3, argument, 0, 160)) == "part"
    assert written_how(7) == ""


@pytest.mark.parametrize(
    ("low", "high", "packed"), [(0, 160, False), (160, 168, False), (56, 57, True), (3, 11, True)]
)
def test_holes_that_are_no_bytes_are_bits_that_code_packs_itself(low: int, high: int, packed: bool) -> None:
    symbols = Symbols()
    assert keeps_bits(_replaced(symbols, 0, symbols.node("CALLDATALOAD", 4), low, high)) is packed
