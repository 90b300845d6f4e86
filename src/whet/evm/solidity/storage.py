"""State variables in the order and with the gaps that put each where the bytecode has it.

Variables follow one another by Solidity's rules of packing; what lies between is declared as a gap. What cannot be
reached so (a slot that is a hash) is a member of a struct whose place is set by assembly.
Source: https://docs.soliditylang.org/en/latest/internals/layout_in_storage.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.structs import Struct, structs_of
from whet.evm.solidity.types import bits, is_value

FARTHEST_SLOT = 1 << 32
"""Variables behind it get a place of their own instead of a gap before them."""
MOST_TRANSIENT = 32


@dataclass(slots=True)
class Declared:
    """lines: structs, then variables, then the functions that give far places. texts: {name in a term: (text, type)}.

    lost: names of variables that no declaration could place; they are read and written by assembly."""

    structs: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    members: dict[str, dict[str, str]] = field(default_factory=dict)


def declare(storage: list[StateVariable], declarations: Iterable[str], taken: set[str]) -> Declared:
    """taken: names that functions have, which variables must not."""
    structs = structs_of(declarations)
    made = Declared(members={s.name: {m[0]: m[1] for m in s.members} for s in structs.values()})
    for struct in structs.values():
        text = _struct(struct, structs)
        if text is None:
            made.lost.append(struct.name)
        else:
            made.structs.append(text)
    names = _names(storage, taken)
    placed = _Placing(structs)
    for variable in sorted((v for v in storage if not v.transient), key=lambda v: (v.slot, v.offset)):
        name = names[variable.name]
        if _unplaceable(variable.type, structs, made.lost):
            made.lost.append(variable.name)
        elif variable.slot >= FARTHEST_SLOT:
            _far(made, variable, name, structs)
        elif (before := placed.before(variable.slot, variable.offset, variable.type)) is not None:
            made.lines += [*before, f"{variable.type} private {name}; // slot {variable.slot}"]
            made.texts[variable.name] = (name, variable.type)
        else:
            made.lost.append(variable.name)
    _transient(made, [v for v in storage if v.transient], names)
    return made


def _transient(made: Declared, storage: list[StateVariable], names: dict[str, str]) -> None:
    placed = _Placing({}, "uint256 transient {0};", MOST_TRANSIENT, "transientGap")
    for variable in sorted(storage, key=lambda v: (v.slot, v.offset)):
        before = None
        if is_value(variable.type):
            before = placed.before(variable.slot, variable.offset, variable.type)
        if before is None:
            made.lost.append(variable.name)
        else:
            name = names[variable.name]
            made.lines += [
                *(line.replace(" private ", " private transient ") for line in before),
                f"{variable.type} private transient {name};",
            ]
            made.texts[variable.name] = (name, variable.type)


def _names(storage: list[StateVariable], taken: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable in storage:
        name = variable.name
        while name in taken:
            name = f"_{name}"
        taken.add(name)
        found[variable.name] = name
    return found


def _far(made: Declared, variable: StateVariable, name: str, structs: dict[str, Struct]) -> None:
    """A variable at a slot that no declaration reaches."""
    if variable.offset:
        padding = f"uint{8 * variable.offset} before; "
    else:
        padding = ""
    place = f"Place_{name}"
    made.structs.append(f"struct {place} {{ {padding}{variable.type} value; }}")
    made.functions.append(
        f"function at_{name}() private pure returns ({place} storage place) {{\n"
        f"    assembly {{\n        place.slot := {variable.slot:#x}\n    }}\n}}"
    )
    made.texts[variable.name] = (f"at_{name}().value", variable.type)


def _unplaceable(kind: str, structs: dict[str, Struct], lost: list[str]) -> bool:
    named = re.findall(r"Struct\w*", kind)
    return any(name not in structs or name in lost for name in named)


def _struct(struct: Struct, structs: dict[str, Struct]) -> str | None:
    """A struct with gaps, so that each member lies where it should; None where none does that."""
    placed = _Placing(structs)
    fields: list[str] = []
    for name, kind, slot, offset in sorted(struct.members, key=lambda m: (m[2], m[3])):
        before = placed.before(slot, offset, kind)
        if before is None or _unplaceable(kind, structs, []):
            return None
        fields += [*(line.replace(" private ", " ") for line in before), f"{kind} {name};"]
    return f"struct {struct.name} {{ {' '.join(fields)} }}"


class _Placing:
    """Where the next variable would come to lie, and what has to be declared before it."""

    def __init__(
        self,
        structs: dict[str, Struct],
        whole: str = "uint256[{1}] private {0};",
        most: int = FARTHEST_SLOT,
        named: str = "gap",
    ) -> None:
        self.structs, self.whole, self.most, self.named = structs, whole, most, named
        self.slot = self.offset = self.gaps = 0

    def before(self, slot: int, offset: int, kind: str) -> list[str] | None:
        """Declarations that make `kind` begin at that slot and byte; None where it is too late for that."""
        lines: list[str] = []
        size = bytes_in_slot(kind)
        slots = slots_of(kind, self.structs)
        if slots is None or (self.slot, self.offset) > (slot, offset) or (size == 0 and offset):
            return None
        if self.offset and self.slot < slot:
            if size and self.slot + 1 == slot and self.offset + size <= 32:
                lines.append(self._pad(32 - self.offset))
            self.slot, self.offset = self.slot + 1, 0
        if self.slot < slot:
            lines += self._gap(slot - self.slot)
            if len(lines) > self.most:
                return None
            self.slot = slot
        if self.offset < offset:
            lines.append(self._pad(offset - self.offset))
        if size:
            self.offset = offset + size
            self.slot += self.offset == 32
            self.offset %= 32
        else:
            self.slot, self.offset = slot + slots, 0
        return lines

    def _gap(self, count: int) -> list[str]:
        if "{1}" in self.whole:
            return [self.whole.format(self._name(), count)]
        if count > self.most:
            return [""] * (self.most + 1)
        return [f"uint256 private {self._name()};" for _ in range(count)]

    def _pad(self, size: int) -> str:
        return f"uint{8 * size} private {self._name()};"

    def _name(self) -> str:
        self.gaps += 1
        return f"{self.named}{self.gaps - 1}"


def bytes_in_slot(kind: str) -> int:
    """Bytes of a type that shares a slot with others; 0 for one that begins a slot of its own."""
    if kind == "bool":
        return 1
    return bits(kind) // 8 if is_value(kind) else 0


def slots_of(kind: str, structs: dict[str, Struct]) -> int | None:
    """Slots that a variable of a type takes; None for a type that is not known."""
    if is_value(kind) or kind in ("string", "bytes") or kind.startswith("mapping(") or kind.endswith("[]"):
        return 1
    if kind.endswith("]"):
        inner, _, count = kind[:-1].rpartition("[")
        size, each = bytes_in_slot(inner), slots_of(inner, structs)
        if each is None or not count.isdigit():
            return None
        return -(-int(count) // (32 // size)) if size else int(count) * each
    if kind in structs:
        return max((m[2] + (slots_of(m[1], structs) or 1) for m in structs[kind].members), default=1)
    return None
