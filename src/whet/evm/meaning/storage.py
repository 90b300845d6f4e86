"""Storage layout: the variables that code reads or writes, with slot, offset, size and type.

All accesses of all walks are gathered by path; a type is built from the fields at a path and the paths behind it.
A variable that no code touches is not there. bytes32 and uint256 are told apart only by use, bytes and string not at all
(`string` is said), members of a struct in storage are shown as variables of their own. An array of which only the length is
used looks like a number, a struct of which only the first member is used like that member.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.evidence import WORD_TYPES, Uses, checked_type, full_type, value_type
from whet.evm.meaning.fields import Field, fields_read
from whet.evm.meaning.kinds import Kinds
from whet.evm.meaning.slots import Path, Place, place
from whet.evm.meaning.stores import fields_written, keeps_bits, written_how
from whet.evm.meaning.symbols import Node, Word, linear
from whet.evm.meaning.well_known import well_known

_MOST_MEMBERS = 64


@dataclass(slots=True)
class _Cell:
    fields: Counter[Field] = field(default_factory=Counter)
    whole: bool = False
    lengthy: bool = False
    filled: bool = False
    """Some value takes all of the word, with nothing of the old one kept."""
    narrow: bool = False
    """The same of a value that does not need all bits."""
    patched: bool = False
    """Some value replaces a part of it."""
    asked: bool = False
    """A word that was read is asked whether it is 0."""
    bits: bool = False
    """Taken apart where no byte begins, as only code does that packs words itself."""


@dataclass(slots=True)
class Layout:
    """Everything known of one kind of storage. lost: accesses whose slot is no path."""

    kinds: Kinds
    cells: dict[Path, _Cell] = field(default_factory=dict)
    keys: dict[Path, Counter[str]] = field(default_factory=dict)
    """{path that ends with "map": types of keys}"""
    texts: set[Path] = field(default_factory=set)
    """Mappings whose keys, and places that, are bytes32 for sure."""
    strides: dict[Path, int] = field(default_factory=dict)
    bounds: dict[Path, int] = field(default_factory=dict)
    lost: int = 0
    children: dict[Path, set[int | str]] = field(default_factory=dict)


def layouts(walks: list[Uses], kinds: Kinds) -> tuple[Layout, Layout]:
    """(storage, transient storage) of the functions walked. kinds: of the words of all of them."""
    permanent, transient = Layout(kinds), Layout(Kinds())
    for uses in walks:
        for effect in uses.walk.effects:
            if effect.op in ("SLOAD", "SSTORE"):
                _add(permanent, uses, effect.op, effect.args, effect.result)
            elif effect.op in ("TLOAD", "TSTORE"):
                _add(transient, uses, effect.op, effect.args, effect.result)
    for layout in (permanent, transient):
        for path in [*layout.cells, *layout.keys]:
            for end in range(1, len(path)):
                layout.children.setdefault(path[:end], set()).add(path[end])
    return permanent, transient


def _add(layout: Layout, uses: Uses, op: str, args: tuple[Word, ...], result: Word | None) -> None:
    found = place(args[0])
    if found is None:
        layout.lost += 1
        return
    if found.path[1:2] == ("index",) and not any(_bound(uses, index) for _, _, index in found.strides):
        layout.lost += 1  # without a check of bounds it is some word, not an index
        return
    _note_keys(layout, uses, found)
    cell = layout.cells.setdefault(found.path, _Cell())
    if op.endswith("STORE"):
        written = fields_written(args[1], args[0])
        cell.fields.update(f for f in written if f[:2] != (0, 256) or f.type)
        cell.whole |= any(f[:2] == (0, 256) for f in written)
        how = written_how(args[1])
        cell.filled |= how == "whole"
        cell.narrow |= how == "narrow"
        cell.patched |= how == "part"
        cell.bits |= keeps_bits(args[1])
    elif isinstance(result, Node):
        word = fields_read(uses, result)
        cell.fields.update(word.fields)
        cell.whole |= word.whole
        cell.asked |= uses.asked[result] > 0 or bool(uses.of(result, "ISZERO"))
        cell.lengthy |= word.lengthy
        cell.bits |= word.bits or result in uses.walk.copied


def _note_keys(layout: Layout, uses: Uses, found: Place) -> None:
    maps = [position for position, step in enumerate(found.path) if step == "map"]
    for position, key in zip(maps, found.keys, strict=True):
        path = found.path[: position + 1]
        layout.keys.setdefault(path, Counter())[_key_type(uses, key)] += 1
    for position, stride, index in found.strides:
        path = found.path[: position + 1]
        layout.strides[path] = max(layout.strides.get(path, 0), stride)
        bound = _bound(uses, index)
        if bound:
            layout.bounds[path] = bound


def _bound(uses: Uses, index: Node) -> int:
    """n where code asks whether index < n; 0 without."""
    for user in uses.users.get(index, ()):
        others = [a for a in user.args if isinstance(a, int)]
        if user.op in ("LT", "GT") and others and 0 < others[0] < 1 << 32:
            return others[0] if user.op == "LT" and user.args[0] is index else others[0] + (user.op == "LT")
    return 0


def _key_type(uses: Uses, key: Word | None) -> str:
    if key is None:
        return "string"
    if isinstance(key, int):
        if not key >> 200:
            return ""
        return "bytes4" if not key & ((1 << 224) - 1) else "bytes32"
    if key.op == "CALLDATALOAD":
        return checked_type(uses, key) or full_type(uses, key)
    if any(node.op in ("LOOP", "SLOAD") for node, _ in linear(key)[1]):
        return "uint256"
    return value_type(key)


# Types.


def variables(layout: Layout, transient: bool = False) -> tuple[list[StateVariable], list[str]]:
    """The variables in order of slot and offset, and declarations of the structs that their types name."""
    structs: list[str] = []
    found: list[StateVariable] = []
    _mark_sets(layout)
    roots = sorted({path[0] for path in [*layout.cells, *layout.keys] if isinstance(path[0], int)})
    numbers = _numbers(roots)
    for slot in roots:
        for low, size, kind in _words(layout, (slot,), structs):
            name = well_known(slot, low) or _numbered(numbers[slot], low, transient)
            found.append(StateVariable(name, kind, slot, low, size, transient))
    return found, structs


def _numbers(slots: list[int]) -> dict[int, str]:
    """How names say the slots, each in its own way: one of eight digits or more by the first eight of 64 hexadecimal
    digits; of several that begin alike the lowest so, the others by their distance from it ("52c63247plus1")."""
    said: dict[int, str] = {}
    lowest: dict[int, int] = {}
    for slot in sorted(slots):
        if slot < 10**7:
            said[slot] = str(slot)
        else:
            distance = slot - lowest.setdefault(slot >> 224, slot)
            said[slot] = f"{slot >> 224:08x}" + (f"plus{distance}" if distance else "")
    return said


def _numbered(number: str, low: int, transient: bool) -> str:
    return f"{'transient' if transient else 'stor'}_{number}{f'_{low}' if low else ''}"


def _mark_sets(layout: Layout) -> None:
    """Notes bytes32 where a mapping of words to places follows an array of words in the next slot: a set, whose elements
    libraries keep as bytes32 of whatever type they are. Of places, 0 is none; a list with places from 0 on is no set."""
    for path, below in layout.children.items():
        if not isinstance(path[-1], int) or "data" not in below or layout.cells.get(path, _Cell()).lengthy:
            continue
        array, mapping = (*path, "data"), (*path[:-1], path[-1] + 1, "map")
        cell, places = layout.cells.get((*array, 0)), layout.cells.get((*mapping, 0))
        stride = layout.strides.get(array, 1)
        if cell is None or places is None or cell.lengthy or stride > 2:
            continue
        keys = layout.keys[mapping]
        words = _split(cell, True)[0][2] in WORD_TYPES and "string" not in keys
        if words and places.asked and not places.fields and layout.children.get(mapping) == {0}:
            layout.texts.add(mapping)
            if stride == 1:
                cell.filled = True
                layout.texts.add((*array, 0))


def _words(layout: Layout, path: Path, structs: list[str]) -> list[tuple[int, int, str]]:
    """(offset, size, type) of what lies in the slot at `path`, offsets and sizes in bytes."""
    below = layout.children.get(path, set())
    cell = layout.cells.get(path, _Cell())
    if "map" in below:
        return [(0, 32, _mapping(layout, path, structs))]
    if cell.lengthy and not (cell.fields and "data" not in below and not cell.whole):
        return [(0, 32, layout.kinds.text_of(("slot", path)) or "string")]
    if "data" in below:
        return [(0, 32, f"{_element(layout, (*path, 'data'), structs)}[]")]
    if "index" in below:
        inner = (*path, "index")
        count = layout.bounds.get(inner, 0)
        return [(0, 32, f"{_element(layout, inner, structs)}[{count or ''}]")]
    told = "bytes32" if path in layout.texts else layout.kinds.of_slot(path)
    return _split(cell, len(path) > 1, told)


def _mapping(layout: Layout, path: Path, structs: list[str]) -> str:
    inner = (*path, "map")
    told, keys = layout.kinds.of_key(inner), layout.keys.get(inner, Counter())
    key = (
        "bytes32" if inner in layout.texts else _joined_key(keys, told, layout.kinds.text_of(("key", inner)))
    )
    return f"mapping({key} => {_element(layout, inner, structs)})"


def _joined_key(keys: Counter[str], told: str, text: str) -> str:
    """A key that is a whole word somewhere is one everywhere: a narrower one is cleaned before it is hashed.

    told: what is known of the keys that are whole words; text: of strings."""
    known = [kind for kind, _ in keys.most_common() if kind]
    if "string" in known:
        return text or "string"
    if not known or any(kind in WORD_TYPES for kind in known):
        return told if told in WORD_TYPES else "uint256"
    return known[0]


def _element(layout: Layout, path: Path, structs: list[str]) -> str:
    """The type of what lies behind a "map", "data" or "index" step."""
    offsets = sorted(o for o in layout.children.get(path, set()) if isinstance(o, int))[:_MOST_MEMBERS]
    stride = layout.strides.get(path, 0)
    if path[-1] != "map" and stride == 1:
        offsets = [0]
    if path[-1] == "data" and not stride and offsets:
        offsets = offsets[:1]
    members = [(o, *w) for o in offsets for w in _words(layout, (*path, o), structs)]
    packed = [f for o in offsets for f in layout.cells.get((*path, o), _Cell()).fields if f.low < 0]
    if packed and path[-1] != "map":
        bits = packed[0].high + 1
        return packed[0].type or ("address" if bits == 160 else f"uint{bits}")
    if not members:
        return "uint256"
    if len(members) == 1 and members[0][0] == 0 and members[0][1] == 0:
        return members[0][3]
    return _struct(path, members, structs)


def _struct(path: Path, members: list[tuple[int, int, int, str]], structs: list[str]) -> str:
    """The name of a struct with these members; another one where a struct elsewhere has that name."""
    told = "Struct" + "".join(f"_{step}" for step in path if isinstance(step, int) and step < 1 << 32)
    fields = " ".join(f"{kind} f{o}{f'_{low}' if low else ''};" for o, low, _, kind in members)
    name, others = told, 0
    while (text := f"struct {name} {{ {fields} }}") not in structs:
        if not any(one.startswith(f"struct {name} ") for one in structs):
            structs.append(text)
            break
        others += 1
        name = f"{told}_other{others}"
    return name


def _split(cell: _Cell, inner: bool, told: str = "") -> list[tuple[int, int, str]]:
    """The fields of a word: the smallest that do not overlap; the whole word if nothing was taken out of it.

    inner: of a mapping or an array, where code that packs words itself writes no address without the rest of its word.
    """
    spans: dict[tuple[int, int], Counter[str]] = {}
    for one, times in cell.fields.items():
        if one.low >= 0:
            spans.setdefault((one.low, one.high), Counter())[one.type] += times
    chosen: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda s: (s[1] - s[0], s[0])):
        if all(span[1] <= low or span[0] >= high for low, high in chosen):
            chosen.append(span)
    if not chosen or cell.bits or cell.filled or (cell.narrow and not cell.patched):
        return [(0, 32, told if told in WORD_TYPES else _whole(spans, inner))]
    return [
        (low // 8, (high - low) // 8, _named(spans[low, high], high - low)) for low, high in sorted(chosen)
    ]


def _whole(spans: dict[tuple[int, int], Counter[str]], inner: bool) -> str:
    """The type of a word that is one value; one of which only an address or some bytes are used is no number."""
    kinds = spans.get((0, 256), Counter())
    known = Counter({kind: times for kind, times in kinds.items() if kind in WORD_TYPES or not inner})
    if any(known):
        return _named(known, 256)
    parts = [span for span in spans if span != (0, 256)]
    texts = any(kind.startswith(("address", "bytes")) for found in spans.values() for kind in found)
    texts |= inner and len(parts) > 1 and min(high for _, high in parts) <= max(low for low, _ in parts)
    return "bytes32" if texts else "uint256"


def _named(kinds: Counter[str], bits: int) -> str:
    if bits == 8:
        return "uint8" if "uint8" in kinds or set(kinds) == {""} else next(k for k in sorted(kinds) if k)
    for kind, _ in sorted(kinds.items(), key=lambda item: (-item[1], item[0])):
        if kind and kind != "uint256":
            return kind
    return "address" if bits == 160 else f"uint{bits}"
