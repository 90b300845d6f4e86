"""Hostile and broken code, one for each number: `case(seed)` is the same on every machine.

Three in four are structure-aware: real contracts decoded into instructions, changed, and put together again; or control
flow that is made to be hard. The rest are bytes and text without any sense.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.evm.material import compiled
from whet.evm.bytecode import read_code
from whet.evm.opcodes import OPCODES

Instruction = bytes
"""An opcode and its immediate bytes."""

JUMP, JUMPI, JUMPDEST, PUSH1, PUSH2, POP = 0x56, 0x57, 0x5B, 0x60, 0x61, 0x50
CONDITION = bytes.fromhex("5f35")  # CALLDATALOAD(0)


@dataclass(frozen=True)
class Case:
    """code: what `lift` is given. kind: the mutation. structured: whether it knows instructions."""

    kind: str
    code: str | bytes
    structured: bool


def bases() -> list[bytes]:
    """Runtime code of every fixture, and some creation code."""
    return [read_code(one.runtime).runtime for one in compiled()] + [
        read_code(one.creation).creation for one in compiled() if one.name in ("Args", "Imm")
    ]


def case(seed: int, material: list[bytes]) -> Case:
    """The input of this number, made of `material`."""
    random = Random(seed)
    kind = random.choice(_KINDS)
    return Case(kind, _MAKERS[kind](random, material), kind not in _PLAIN)


def instructions(code: bytes) -> list[Instruction]:
    found, at = [], 0
    while at < len(code):
        opcode = OPCODES.get(code[at])
        end = at + 1 + (opcode.immediate if opcode else 0)
        found.append(code[at:end])
        at = end
    return found


def push(value: int) -> Instruction:
    return bytes([PUSH2]) + value.to_bytes(2, "big")


def _decoded(random: Random, material: list[bytes]) -> list[Instruction]:
    return instructions(random.choice(material))


def _swap(random: Random, material: list[bytes]) -> bytes:
    code = _decoded(random, material)
    for _ in range(random.randint(1, 8)):
        a, b = random.randrange(len(code)), random.randrange(len(code))
        code[a], code[b] = code[b], code[a]
    return b"".join(code)


def _drop_or_double(random: Random, material: list[bytes]) -> bytes:
    code = _decoded(random, material)
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(code))
        code[at : at + 1] = random.choice([[], [code[at]] * 2, [code[at]] * 40])
        code = code or [b"\0"]
    return b"".join(code)


def _other_opcodes(random: Random, material: list[bytes]) -> bytes:
    code = _decoded(random, material)
    for _ in range(random.randint(1, 12)):
        at = random.randrange(len(code))
        if len(code[at]) == 1:
            code[at] = bytes([random.randrange(256)])
    return b"".join(code)


def _offsets(code: bytes) -> list[int]:
    at, found = 0, []
    for one in instructions(code):
        if one[0] == JUMPDEST:
            found.append(at)
        at += len(one)
    return found or [0]


def _jump_elsewhere(random: Random, material: list[bytes]) -> bytes:
    """Constants that are places of JUMPDESTs become other places, near misses, or code within data."""
    raw = random.choice(material)
    places, code = _offsets(raw), instructions(raw)
    jumps = [i for i, one in enumerate(code) if len(one) == 3 and int.from_bytes(one[1:], "big") in places]
    for at in random.sample(jumps, min(len(jumps), random.randint(1, 10))):
        target = random.choice(places) + random.choice([0, 0, 0, 1, -1])
        code[at] = push(random.choice([target, random.randrange(len(raw) + 10), 0]) & 0xFFFF)
    return b"".join(code)


def _push_widths(random: Random, material: list[bytes]) -> bytes:
    code = _decoded(random, material)
    pushes = [i for i, one in enumerate(code) if PUSH1 <= one[0] <= 0x7F]
    for at in random.sample(pushes, min(len(pushes), random.randint(1, 6))):
        width = random.randint(0, 32)
        keep = random.random() < 0.5
        data = code[at][1:].rjust(width, b"\0")[-width:] if keep and width else code[at][1:]
        code[at] = bytes([0x5F + width]) + data
    return b"".join(code)


def _splice(random: Random, material: list[bytes]) -> bytes:
    """A stretch of one contract within another, or behind it with jumps that lead into it."""
    one, other = _decoded(random, material), random.choice(material)
    if random.random() < 0.5:
        piece = instructions(other)
        start = random.randrange(len(piece))
        at = random.randrange(len(one))
        return b"".join(one[:at] + piece[start : start + random.randint(1, 200)] + one[at:])
    size = sum(map(len, one))
    places = [size + place for place in _offsets(other)]
    jumps = [i for i, each in enumerate(one) if len(each) == 3]
    for at in random.sample(jumps, min(len(jumps), random.randint(1, 10))):
        one[at] = push(random.choice(places) & 0xFFFF)
    return b"".join(one) + other


def _more_jumpdests(random: Random, material: list[bytes]) -> bytes:
    code = _decoded(random, material)
    for _ in range(random.randint(1, 30)):
        code.insert(random.randrange(len(code)), bytes([JUMPDEST]) * random.randint(1, 5))
    return b"".join(code)


def _turn_jumps(random: Random, material: list[bytes]) -> bytes:
    code = _decoded(random, material)
    for at, one in enumerate(code):
        if one[0] in (JUMP, JUMPI, POP) and random.random() < 0.1:
            code[at] = bytes([random.choice([JUMP, JUMPI, POP, JUMPDEST, 0x80, 0x90])])
    return b"".join(code)


def _cut(random: Random, material: list[bytes]) -> bytes:
    code = random.choice(material)
    return code[: random.randint(1, len(code))]


def _computed_jumps(random: Random, material: list[bytes]) -> bytes:
    """Constants before jumps become words that nobody knows."""
    code = _decoded(random, material)
    unknown = [CONDITION, b"\x5f\x54", b"\x5f\x51", b"\x33", b"\x5f\x35\x61\xff\xff\x16", b"\x58", b"\x5a"]
    for at, one in enumerate(code):
        if one[0] in (JUMP, JUMPI) and at and random.random() < 0.2:
            code[at - 1] = random.choice(unknown)
    return b"".join(code)


def _random_flow(random: Random, material: list[bytes]) -> bytes:
    """Blocks that jump anywhere, with stacks that fit or do not."""
    count = random.choices([4, 20, 100, 400], [4, 4, 4, 1])[0]
    size = 24
    blocks = []
    for _ in range(count):
        body = bytes([JUMPDEST]) + b"".join(random.choice(_WORK) for _ in range(random.randint(0, 6)))
        first, second = push(size * random.randrange(count)), push(size * random.randrange(count))
        ends = [
            CONDITION + first + b"\x57" + second + b"\x56",
            CONDITION + first + b"\x57",
            first + b"\x56",
            b"\x56",
            CONDITION + b"\x56",
            b"\x5f\x5f\xf3",
        ]
        block = body + random.choices(ends, [5, 4, 2, 2, 0.2, 1])[0]
        blocks.append(block[:size].ljust(size, b"\x5f"))
    return b"".join(blocks)


_WORK = [bytes([op]) for op in (0x5F, 0x80, 0x81, 0x82, 0x90, 0x91, 0x50, 0x01, 0x33, 0x35, 0x54, 0x16)]
_WORK += [push(place) for place in (0, 24, 48, 240)]


def _calls(random: Random, material: list[bytes]) -> bytes:
    """Functions that call others twice, each with its own way back: as many contexts as paths."""
    depth, recursive = random.choice([3, 12, 40, 200]), random.random() < 0.5
    size = 32
    code = (push(8) + push(size) + b"\x56\x00\x5b\x00").ljust(size, b"\0")
    for _ in range(depth):
        here = len(code)
        callee = random.randrange(size, here + 1, size) if recursive else here + size
        first, second = (
            bytes([JUMPDEST]) + push(here + back) + push(callee) + bytes([JUMP]) for back in (8, 16)
        )
        code += (first + second + bytes([JUMPDEST, JUMP])).ljust(size, b"\0")
    return code + bytes([JUMPDEST, JUMP])


def _deep_stack(random: Random, material: list[bytes]) -> bytes:
    """A loop that leaves words on the stack, or takes them."""
    grow = random.choice([b"\x5f", b"\x80", b"\x33", b"\x50", b"\x5f\x80\x81", b"\x90"]) * random.randint(
        1, 40
    )
    loop = bytes([JUMPDEST]) + grow + random.choice([CONDITION + push(0) + b"\x57", push(0) + b"\x56"])
    return loop + random.choice(material) if random.random() < 0.5 else loop + b"\x00"


def _ladder(random: Random, material: list[bytes]) -> bytes:
    """Many conditions one after another, all of which may leave for the same places."""
    count = random.choices([10, 100, 2000], [4, 4, 1])[0]
    step = bytes([JUMPDEST]) + random.choice([b"", b"\x33", b"\x90", b"\x5f\x80"]) + CONDITION
    size = len(step) + 4
    return b"".join(step + push(size * random.randrange(count)) + b"\x57" for _ in range(count))


def _dispatcher(random: Random, material: list[bytes]) -> bytes:
    """Very many selectors, most of them to the same few places."""
    count = random.choices([5, 100, 1000], [4, 4, 1])[0]
    head = b"\x5f\x35\x60\xe0\x1c"
    size = len(head) + 11 * count
    places = [size + 4 * place for place in range(1, 8)]
    tests = b"".join(
        b"\x80\x63"
        + random.randbytes(4)
        + random.choice([b"\x14", b"\x14", b"\x11", b"\x10"])
        + push(random.choice(places))
        + b"\x57"
        for _ in range(count)
    )
    return head + tests + (b"\x00" * 3 + b"\x5b") * 8


def _jump_table(random: Random, material: list[bytes]) -> bytes:
    """A jump to a word from calldata among very many places."""
    count = random.choice([10, 300, 3000])
    tail = random.choice([b"\x5b", b"\x5b\x56", b"\x5b" + CONDITION + b"\x56", b"\x5b\x33\x50"])
    return CONDITION + random.choice([b"\x56", b"\x61\xff\xff\x16\x56"]) + tail * count


def _repeated(random: Random, material: list[bytes]) -> bytes:
    return random.choice(material) * random.randint(2, 8)


def _any_bytes(random: Random, material: list[bytes]) -> bytes:
    return random.randbytes(random.choice([1, 10, 200, 3000]))


def _flipped(random: Random, material: list[bytes]) -> bytes:
    code = bytearray(random.choice(material))
    for _ in range(random.randint(1, 20)):
        code[random.randrange(len(code))] = random.randrange(256)
    return bytes(code)


def _one_byte(random: Random, material: list[bytes]) -> bytes:
    return bytes([random.randrange(256)]) * random.choice([1, 33, 1000, 5000])


def _odd_text(random: Random, material: list[bytes]) -> str:
    text = list(random.choice(material).hex())
    for _ in range(random.randint(0, 3)):
        at = random.randrange(len(text))
        text[at : at + 1] = random.choice(["", "g", " ", "\n", "0x", "__", "{", "é", "\0"])
    return random.choice(["", "0x", "\ufeff", "{"]) + "".join(text)


_STRUCTURED: dict[str, Callable[[Random, list[bytes]], bytes]] = {
    "swapped instructions": _swap,
    "dropped and doubled": _drop_or_double,
    "other opcodes": _other_opcodes,
    "jumps elsewhere": _jump_elsewhere,
    "other push widths": _push_widths,
    "spliced contracts": _splice,
    "more jumpdests": _more_jumpdests,
    "turned jumps": _turn_jumps,
    "computed jumps": _computed_jumps,
    "random flow": _random_flow,
    "calls": _calls,
    "deep stack": _deep_stack,
    "ladder": _ladder,
    "dispatcher": _dispatcher,
    "jump table": _jump_table,
}
_PLAIN: dict[str, Callable[[Random, list[bytes]], str | bytes]] = {
    "cut": _cut,
    "repeated": _repeated,
    "any bytes": _any_bytes,
    "flipped bytes": _flipped,
    "one byte": _one_byte,
    "odd text": _odd_text,
}
_MAKERS: dict[str, Callable[[Random, list[bytes]], str | bytes]] = {**_STRUCTURED, **_PLAIN}
_KINDS = [*_STRUCTURED, *_PLAIN]

MEBIBYTE = 2**20


def shapes() -> dict[str, str | bytes]:
    """The largest code that is read, in the worst forms; and texts that are no code."""
    random = Random(0)
    return {
        "1 MiB of JUMPDEST": bytes([JUMPDEST]) * MEBIBYTE,
        "1 MiB of DUP1": b"\x80" * MEBIBYTE,
        "1 MiB of cut PUSH32": b"\x7f" * MEBIBYTE,
        "1 MiB of STOP": bytes(MEBIBYTE),
        "1 MiB of conditions": (b"\x5b\x5f\x35\x61\x00\x00\x57" * MEBIBYTE)[:MEBIBYTE],
        "1 MiB of jump table": CONDITION + b"\x56" + b"\x5b\x56" * (MEBIBYTE // 2 - 2),
        "1 MiB of any bytes": random.randbytes(MEBIBYTE),
        "1 MiB of contracts": (b"".join(bases()) * 100)[:MEBIBYTE],
        "1 MiB of memory": (b"\x33\x5f\x52\x5f\x51\x5f\x55" * MEBIBYTE)[:MEBIBYTE],
        "1 MiB of metadata": (b"\xa1dsolc" * MEBIBYTE)[:MEBIBYTE],
        "1 MiB of constructors": (b"\x60\x80\x60\x40\x52\x61\x40\x00" * MEBIBYTE)[:MEBIBYTE],
        "more than 1 MiB": bytes(MEBIBYTE + 1),
        "a cut PUSH32": b"\x7f\x01",
        "one JUMP": b"\x56",
        "odd hex": "0x60806",
        "empty": "",
        "empty 0x": "0x",
        "no hex": "0x60zz",
        "EOF": "0xef0001",
        "brackets": "[" * 1_000_000,
        "white space": " \n" * 1_000_000 + "z",
        "words": "CALLDATASIZE " * 100_000,
        "placeholders": "__" * 1_000_000,
    }
