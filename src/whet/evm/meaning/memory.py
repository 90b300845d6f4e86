"""What memory holds at one place of a function: words at offsets, and regions copied from calldata, code or returned data.

Offsets are compared by their parts (`symbols.linear`): the same terms with another constant is the same object. Assumed,
as compilers do it: objects that begin at different symbolic offsets do not overlap, nor do they overlap scratch space.
Memory behind a constant string that code copies from itself is 0 if this function has not written there: an older
compiler's function that was called after its caller had encoded more at the same place would show what was left.
Where ways meet only what all of them agree on is kept. In a loop everything from before is marked as no longer sure.
"""

from __future__ import annotations

from typing import NamedTuple

from whet.evm.meaning.symbols import Node, Symbols, Terms, Word, inside, linear

FREE_POINTER = 0x40
_MOST_WORDS = 512
"""Of one region that is read as a whole."""


class Cell(NamedTuple):
    """The bytes from `low` to `high` (of 0..32) of a word that was stored. sure: no loop may have changed it since.

    by: the statement of the function walked that stored it, itself or by a call. pc: offset of its MSTORE, -1 if it has none.
    """

    word: Word
    low: int = 0
    high: int = 32
    sure: bool = True
    by: tuple[str, int] | None = None
    pc: int = -1


class Region(NamedTuple):
    """Bytes copied to offset `start` of an object: `source` is a node (op, offset, length)."""

    start: int
    source: Node
    length: Word


class Payload(NamedTuple):
    """A part of memory that is consumed. words: None where unknown; the last may be less than a word (`length`).

    selector: the four bytes before the words, where it begins so. regions: copies that lie in it.
    sure: all words known on every way."""

    length: Word
    selector: int | None
    words: tuple[Word | None, ...]
    regions: tuple[tuple[Word, Node], ...]
    sure: bool
    by: frozenset[tuple[str, int]] = frozenset()
    """Statements that stored these words."""
    stored: tuple[int, ...] = ()
    """Of each word the offset of the MSTORE that stored all of it; -1 where there is none."""


class Memory:
    """A state of memory; `fork` is cheap."""

    __slots__ = ("_owned", "by", "cells", "readers", "regions", "symbols")

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self.cells: dict[Terms, dict[int, Cell]] = {}
        self.regions: dict[Terms, tuple[Region, ...]] = {}
        self.by: tuple[str, int] | None = None
        """The statement that is being walked."""
        self.readers: dict[tuple[str, int], set[int | tuple[str, int]]] = {}
        """{statement that stored something: who read it}, of all states of one walk."""
        self._owned: set[Terms] = set()

    def fork(self) -> Memory:
        other = Memory(self.symbols)
        other.cells, other.regions = dict(self.cells), dict(self.regions)
        other.readers = self.readers
        self._owned.clear()
        return other

    def _object(self, terms: Terms) -> dict[int, Cell]:
        if terms not in self._owned:
            self.cells[terms] = dict(self.cells.get(terms, ()))
            self._owned.add(terms)
        return self.cells[terms]

    def store(self, offset: Word, word: Word, low: int = 0, pc: int = -1) -> None:
        """MSTORE at `pc`; with low=31 the last byte of the word alone, placed at `offset` (MSTORE8)."""
        start, terms = linear(offset)
        start -= low
        cells = self._object(terms)
        if start not in cells or low:
            _cut(cells, start + low, start + 32)
        cells[start] = Cell(word, low, by=self.by, pc=pc)
        if len(cells) > 4096:
            cells.clear()

    def is_untouched(self, offset: Word, length: int) -> bool:
        """Whether nothing is known to have been written there, so that it is taken to be 0."""
        start, terms = linear(offset)
        cells = self.cells.get(terms, {})
        stored = any(at + c.low < start + length and at + c.high > start for at, c in cells.items())
        copied = (
            not isinstance(r.length, int) or (r.start < start + length and r.start + r.length > start)
            for r in self.regions.get(terms, ())
        )
        return not stored and not any(copied)

    def load(self, offset: Word) -> tuple[Word, bool] | None:
        """(word, whether that is sure) of MLOAD; None if not known."""
        start, terms = linear(offset)
        cells = self.cells.get(terms)
        if cells:
            cell = cells.get(start)
            if cell is not None and cell.high - cell.low == 32:
                return cell.word, cell.sure
            word = self._composed(cells, start)
            if word is not None:
                return word
        return self._copied(offset)

    def _composed(self, cells: dict[int, Cell], start: int) -> tuple[Word, bool] | None:
        """A word read across several cells: a constant, or a node JOIN of (bytes, PART of a word)."""
        parts: list[tuple[int, Word]] = []
        known, sure, covered = 0, True, 0
        for at, cell in sorted(cells.items()):
            low, high = max(at + cell.low, start), min(at + cell.high, start + 32)
            if low >= high:
                continue
            size, covered = high - low, covered + high - low
            if isinstance(cell.word, int):
                bits = cell.word >> 8 * (at + 32 - high) & ((1 << 8 * size) - 1)
                part: Word = bits
                known |= bits << 8 * (start + 32 - high)
            else:
                part = self.symbols.node("PART", low - at, high - at, cell.word)
            parts.append((size, part))
            sure &= cell.sure
        if covered != 32:
            return None
        if all(isinstance(part, int) for _, part in parts):
            return known, sure
        return self.symbols.node("JOIN", *(x for part in parts for x in part)), sure

    def _copied(self, offset: Word) -> tuple[Word, bool] | None:
        """A word out of calldata or returned data that was copied."""
        start, terms = linear(offset)
        for at, regions in self.regions.items():
            if at != terms and not set(at) <= set(terms):
                continue
            if not at and terms:
                continue
            for region in regions:
                inside = self.symbols.add(
                    self.symbols.sum(start - region.start, terms), self.symbols.sum(0, at), -1
                )
                if not _lies_in(inside, region.length):
                    continue
                place = self.symbols.add(region.source.args[0], inside)
                if region.source.op == "CALLDATA":
                    return self.symbols.node("CALLDATALOAD", place), False
                return self.symbols.node("WORD", region.source, inside), False
        return None

    def copy(self, offset: Word, source: Node, length: Word) -> None:
        """Bytes copied; source: node (kind, offset, ...)."""
        start, terms = linear(offset)
        if length == 0:
            return
        end = start + length if isinstance(length, int) else 1 << 256
        _cut(self._object(terms), start, end)
        kept = [r for r in self.regions.get(terms, ()) if r.start != start]
        self.regions[terms] = (Region(start, source, length), *kept[:7])

    def forget(self, offset: Word, length: Word) -> None:
        """Bytes of which nothing is known any more."""
        start, terms = linear(offset)
        _cut(self._object(terms), start, start + length if isinstance(length, int) else 1 << 256)

    def forget_all(self) -> None:
        self.cells, self.regions = {}, {}
        self._owned = set()

    def doubt(self) -> None:
        """A loop begins that writes memory: nothing from before is sure, scratch space is unknown."""
        self._owned = set()
        for terms, cells in self.cells.items():
            self.cells[terms] = {
                at: cell._replace(sure=False) for at, cell in cells.items() if terms or at >= FREE_POINTER
            }

    def payload(self, offset: Word, length: Word) -> Payload:
        """What stands at offset .. offset + length."""
        selector = self._selector(offset, length)
        start = self.symbols.add(offset, 0 if selector is None else 4)
        left = length
        if isinstance(length, int):
            left = length - (0 if selector is None else 4)
        words: list[Word | None] = []
        sure = isinstance(left, int) and left <= 32 * _MOST_WORDS
        most = left if isinstance(left, int) and sure else 32 * 32
        for at in range(0, most, 32):
            found = self._first_bytes(self.symbols.add(start, at), min(32, most - at))
            if not isinstance(left, int) and (
                found is None or not self._is_stored(self.symbols.add(start, at))
            ):
                break
            words.append(found[0] if found else None)
            sure &= bool(found and found[1])
        by = self._stored_by(offset, length) if sure and isinstance(length, int) else frozenset()
        stored = tuple([self._stored_at(self.symbols.add(start, 32 * at)) for at in range(len(words))])
        return Payload(length, selector, tuple(words), self._regions(start), sure, by, stored)

    def note_read(self, offset: Word, length: Word | None, reader: int | tuple[str, int]) -> None:
        """Notes who may read what stands there. length: None for everything that can be reached from the offset."""
        start, terms = linear(offset)
        exact = terms in self.cells and length is not None
        nodes = set() if exact and isinstance(length, int) else set(inside(offset))
        for at, cells in self.cells.items():
            if at == terms and length is not None:
                low, high = start, start + length if isinstance(length, int) else 1 << 256
            elif at and nodes and all(node in nodes for node, _ in at):
                low, high = -1, 1 << 256
            else:
                continue
            for place, cell in cells.items():
                if place + cell.low < high and place + cell.high > low and cell.by is not None:
                    self.readers.setdefault(cell.by, set()).add(reader)

    def _stored_by(self, offset: Word, length: int) -> frozenset[tuple[str, int]]:
        start, terms = linear(offset)
        cells = self.cells.get(terms, {})
        return frozenset(
            c.by for at, c in cells.items() if start - 32 < at < start + length and c.by is not None
        )

    def _stored_at(self, offset: Word) -> int:
        start, terms = linear(offset)
        cell = self.cells.get(terms, {}).get(start)
        return cell.pc if cell is not None and cell.high - cell.low == 32 else -1

    def _is_stored(self, offset: Word) -> bool:
        start, terms = linear(offset)
        return start in self.cells.get(terms, {})

    def _selector(self, offset: Word, length: Word) -> int | None:
        """Four bytes that stand for themselves: more follows at a distance of 4, or nothing."""
        if isinstance(length, int) and length % 32 != 4:
            return None
        start, terms = linear(offset)
        cell = self.cells.get(terms, {}).get(start)
        if cell is None or cell.low or cell.high < 4 or not isinstance(cell.word, int):
            return self._late_selector(offset)
        behind = cell.word & ((1 << 224) - 1)
        if length == 4 or cell.high == 4 or (behind == 0 and isinstance(length, int)):
            return cell.word >> 224
        return None

    def _late_selector(self, offset: Word) -> int | None:
        """The selector in the last bytes of the word 28 bytes before, as compact code writes it."""
        start, terms = linear(offset)
        cell = self.cells.get(terms, {}).get(start - 28)
        if cell is not None and cell.high == 32 and cell.low <= 28 and isinstance(cell.word, int):
            return cell.word & 0xFFFFFFFF
        return None

    def _first_bytes(self, offset: Word, size: int) -> tuple[Word, bool] | None:
        """A word of which only the first bytes count (the others are read as 0)."""
        if size == 32:
            return self.load(offset)
        start, terms = linear(offset)
        cells = self.cells.get(terms)
        if not cells:
            return None
        shown = dict(cells)
        _cut(shown, start + size, start + 64)
        shown[start + size] = Cell(0)
        return self._composed(shown, start)

    def _regions(self, offset: Word) -> tuple[tuple[Word, Node], ...]:
        """(distance from offset, source) of the copies in the same object."""
        start, terms = linear(offset)
        found: list[tuple[Word, Node]] = []
        for at, regions in self.regions.items():
            if set(terms) <= set(at) and bool(terms) == bool(at):
                more = tuple(term for term in at if term not in terms)
                found += [(self.symbols.sum(r.start - start, more), r.source) for r in regions]
        return tuple(found)


def _lies_in(inside: Word, length: Word) -> bool:
    """Whether a word at that distance can belong to the region: what is added to a constant must be an index."""
    constant, terms = linear(inside)
    if constant >> 255 or (isinstance(length, int) and (constant + 32 > length or (terms and length <= 32))):
        return False
    sizes = {node for node, _ in linear(length)[1]}
    return all(node.op == "LOOP" or (factor % 32 == 0 and node not in sizes) for node, factor in terms)


def _cut(cells: dict[int, Cell], start: int, end: int) -> None:
    """Bytes from start to end leave the cells."""
    for at in [at for at in cells if start - 32 < at < end]:
        cell = cells[at]
        low, high = at + cell.low, at + cell.high
        if high <= start or low >= end:
            continue
        if low >= start and high <= end:
            del cells[at]
        elif low < start:
            cells[at] = cell._replace(high=start - at)
        else:
            cells[at] = cell._replace(low=end - at)


def meet(memories: list[Memory], pointer: Word) -> Memory:
    """What all of them hold. pointer: the free pointer where they differ in it."""
    first = memories[0].fork()
    if len(memories) == 1:
        return first
    others = memories[1:]
    for terms in list(first.cells):
        cells = first.cells[terms]
        if all(other.cells.get(terms) is cells for other in others):
            continue
        kept = {}
        for at, cell in cells.items():
            same = [other.cells.get(terms, {}).get(at) for other in others]
            if all(c is not None and c[:3] == cell[:3] and c.by == cell.by for c in same):
                kept[at] = cell._replace(sure=cell.sure and all(c.sure for c in same if c))
            elif not terms and at == FREE_POINTER:
                kept[at] = Cell(pointer)
        first.cells[terms] = kept
    for terms in list(first.regions):
        if any(other.regions.get(terms) != first.regions[terms] for other in others):
            first.regions[terms] = tuple(
                r for r in first.regions[terms] if all(r in o.regions.get(terms, ()) for o in others)
            )
    return first
