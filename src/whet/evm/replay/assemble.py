"""Assembler for mocks and tests: "PUSH 1 PUSH 0x20 ADD @loop JUMP :loop JUMPDEST" -> bytecode. Labels take two bytes."""

from __future__ import annotations

from whet.evm.opcodes import BY_NAME


def assemble(text: str) -> bytes:
    """PUSH with a number takes the shortest size; `:name` marks a place (JUMPDEST), `@name` pushes it."""
    out, places, uses = bytearray(), {}, []
    words = iter(text.split())
    for word in words:
        if word == "PUSH":
            number = int(next(words), 0)
            size = (number.bit_length() + 7) // 8
            out += bytes([0x5F + size]) + number.to_bytes(size, "big")
        elif word.startswith("@"):
            uses.append((len(out) + 1, word[1:]))
            out += b"\x61\0\0"
        elif word.startswith(":"):
            places[word[1:]] = len(out)
            out += b"\x5b"
        else:
            out.append(BY_NAME[word].value)
    for at, name in uses:
        out[at : at + 2] = places[name].to_bytes(2, "big")
    return bytes(out)
