"""Where calls of functions go, by the compiler's own source map: the entries of functions in runtime code.

A jump that the map tags `i` goes into a function. Its target's source range is the function's, in every version of the
compiler. Targets: the PUSH before the jump, else what a small simulation of the stack finds; it knows nothing of the
lifter's analysis, so that neither can hide the other's mistakes. What it cannot resolve is counted.
Source: https://docs.soliditylang.org/en/latest/internals/source_mappings.html
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from whet.evm.opcodes import OPCODES

SIMULATED_BLOCKS = 200_000
"""The simulation stops after so many visits; what is unresolved then is counted as such."""

KNOWN_STATES = 1_000
"""Stacks with which one block is entered; further ones are not followed."""

Stack = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Instruction:
    """pc: byte offset. value: what a PUSH pushes."""

    pc: int
    name: str
    pops: int
    pushes: int
    value: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """What the map says of one instruction. `src` is "start:length:file"; jump "i" into a function, "o" out, "-" other."""

    src: str
    jump: str


@dataclass(frozen=True, slots=True)
class Calls:
    """entered: {pc of a JUMPDEST: its source range} of all targets of calls. sites: {the same pc: how many jumps call it}.
    unresolved: pcs of calls without a known target. untagged: {pc: source range} of functions' entries by jumps without a
    tag (up to 0.4.26): bodies of public functions, within one source range, and helpers of the compiler's, whose file is -1."""

    entered: dict[int, str]
    sites: dict[int, int]
    unresolved: tuple[int, ...]
    untagged: dict[int, str]


def instructions(code: bytes) -> list[Instruction]:
    """All of the code, as if there were no data in it."""
    found, pc = [], 0
    while pc < len(code):
        opcode = OPCODES.get(code[pc])
        size = opcode.immediate if opcode else 0
        name = opcode.name if opcode else "INVALID"
        value = int.from_bytes(code[pc + 1 : pc + 1 + size], "big") if name.startswith("PUSH") else None
        found.append(
            Instruction(pc, name, opcode.pops if opcode else 0, opcode.pushes if opcode else 0, value)
        )
        pc += 1 + size
    return found


def places(source_map: str) -> list[Place]:
    """One for each instruction: fields left out are those of the instruction before."""
    fields = ["", "", "", ""]
    found = []
    for entry in source_map.split(";"):
        for index, field in enumerate(entry.split(":")[:4]):
            if field:
                fields[index] = field
        found.append(Place(":".join(fields[:3]), fields[3]))
    return found


def calls(code: bytes, source_map: str) -> Calls:
    """Where the calls of functions go."""
    listed = list(zip(instructions(code), places(source_map), strict=False))
    program = [instruction for instruction, _ in listed]
    at = {instruction.pc: place for instruction, place in listed if instruction.name == "JUMPDEST"}
    into = [
        index
        for index, (instruction, place) in enumerate(listed)
        if place.jump == "i" and instruction.name in ("JUMP", "JUMPI")
    ]
    targets = {program[index].pc: _pushed_before(program, index) for index in into}
    if not all(targets.values()):
        simulated = _simulated(program, {pc for pc, known in targets.items() if not known})
        targets |= simulated
    sites = Counter(target for known in targets.values() for target in known if target in at)
    entered = {target: at[target].src for target in sorted(sites)}
    unresolved = tuple(sorted(pc for pc, known in targets.items() if not known))
    return Calls(entered, sites, unresolved, _untagged(listed, at))


def _untagged(listed: Sequence[tuple[Instruction, Place]], at: Mapping[int, Place]) -> dict[int, str]:
    found = {}
    for (push, _), (jump, place) in pairwise(listed):
        target = at.get(-1 if push.value is None else push.value)
        if jump.name != "JUMP" or place.jump != "-" or target is None or push.value is None:
            continue
        if target.src.endswith(":-1") != (target.src == place.src):
            found[push.value] = target.src
    return dict(sorted(found.items()))


def _pushed_before(program: Sequence[Instruction], index: int) -> set[int]:
    value = program[index - 1].value if index else None
    return set() if value is None else {value}


def _simulated(program: Sequence[Instruction], wanted: set[int]) -> dict[int, set[int]]:
    """Targets of the jumps `wanted`, by following every stack of jump targets through the code, within bounds."""
    blocks = _blocks(program)
    found: dict[int, set[int]] = {pc: set() for pc in wanted}
    seen: dict[int, set[Stack]] = {}
    work: deque[tuple[int, Stack]] = deque(
        [(0, ())]
    )  # breadth first: recursion must not keep the rest waiting
    for _ in range(SIMULATED_BLOCKS):
        if not work:
            break
        pc, stack = work.popleft()
        states = seen.setdefault(pc, set())
        if stack in states or len(states) >= KNOWN_STATES or pc not in blocks:
            continue
        states.add(stack)
        last, after, target = _executed(blocks[pc], stack, blocks)
        if last.pc in found and target is not None:
            found[last.pc].add(target)
        if last.name in ("JUMP", "JUMPI") and target in blocks:
            work.append((target or 0, after))
        if last.name not in ("JUMP", "STOP", "RETURN", "REVERT", "INVALID", "SELFDESTRUCT"):
            work.append((last.pc + 1 + _immediate(last), after))
    return found


def _immediate(instruction: Instruction) -> int:
    return int(instruction.name[4:]) if instruction.name.startswith("PUSH") else 0


def _blocks(program: Sequence[Instruction]) -> dict[int, list[Instruction]]:
    blocks: dict[int, list[Instruction]] = {}
    current: list[Instruction] = []
    ends = ("JUMP", "JUMPI", "STOP", "RETURN", "REVERT", "INVALID", "SELFDESTRUCT")
    for instruction in program:
        if not current or instruction.name == "JUMPDEST":
            current = blocks.setdefault(instruction.pc, [])
        current.append(instruction)
        if instruction.name in ends:
            current = []
    return blocks


def _executed(
    block: Sequence[Instruction], stack: Stack, blocks: dict[int, list[Instruction]]
) -> tuple[Instruction, Stack, int | None]:
    """The last instruction, the stack after it (only values that are blocks' starts are kept), a jump's target."""
    words: list[int | None] = list(stack)
    target = None
    for instruction in block:
        missing = instruction.pops - len(words)
        words[:0] = [None] * missing
        target = _step(instruction, words)
    kept = [word if word in blocks else None for word in words]
    while kept and kept[0] is None:
        kept.pop(0)
    return block[-1], tuple(kept), target


def _step(instruction: Instruction, words: list[int | None]) -> int | None:
    name, top = instruction.name, words[-1] if words else None
    if name.startswith("DUP"):
        words.append(words[-int(name[3:])])
    elif name.startswith("SWAP"):
        depth = int(name[4:]) + 1
        words[-1], words[-depth] = words[-depth], words[-1]
    elif name == "AND" and None not in words[-2:]:  # a function's pointer, cleaned up
        words.append((words.pop() or 0) & (words.pop() or 0))
    else:
        del words[len(words) - instruction.pops :]
        words += [instruction.value] * instruction.pushes
    return top


def walk(node: object) -> Iterator[dict[str, Any]]:
    """Every node of an AST, parents first."""
    work = [node]
    while work:
        item = work.pop()
        if isinstance(item, dict):
            if "nodeType" in item:
                yield item
            work.extend(reversed(list(item.values())))
        elif isinstance(item, list):
            work.extend(reversed(item))
