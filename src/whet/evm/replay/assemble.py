"""Assembler for mocks and tests: "PUSH 1 PUSH 0x20 ADD @loop JUMP :loop JUMPDEST" -> bytecode."""

from __future__ import annotations

from whet.evm.opcodes import BY_NAME


def assemble(text: str, label_bytes: int = 2) -> bytes:
    """PUSH with a number takes the shortest size; `:name` marks a place (JUMPDEST), `@name` pushes it.

    Raises OverflowError where a place needs more than `label_bytes`.
    """
    out, places, uses = bytearray(), {}, []
    words = iter(text.split())
    for word in words:
        if word == "PUSH":
            number = int(next(words), 0)
            size = (number.bit_length() + 7) // 8
            out += bytes([0x5F + size]) + number.to_bytes(size, "big")
        elif word.startswith("@"):
            uses.append((len(out) + 1, word[1:]))
            out += bytes([0x5F + label_bytes, *bytes(label_bytes)])
        elif word.startswith(":"):
            places[word[1:]] = len(out)
            out += b"\x5b"
        else:
            out.append(BY_NAME[word].value)
    for at, name in uses:
        out[at : at + label_bytes] = places[name].to_bytes(label_bytes, "big")
    return bytes(out)
