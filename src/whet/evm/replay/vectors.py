"""Arguments for the functions of a contract: words and well-formed calldata by ABI types, from a pool and at random.

The pool holds boundary values, addresses that matter, and the constants of the contract's TAC. Encoding is eth-abi's
(the extra `evm`). Left out: values that only a solver would find; `whet.evm.replay.search` asks the interpreter for
what it compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from whet.errors import WhetError
from whet.evm import INSTALL
from whet.evm.keccak import selector as selector_of
from whet.evm.meaning.abi_types import flat
from whet.evm.replay.mocks import ALICE, BOB, MOCKS, OWNER, TARGET
from whet.evm.tac import WORD, Contract, Operand

try:
    from eth_abi import abi as eth_abi
    from eth_abi.exceptions import DecodingError
except ImportError as error:
    raise WhetError("what encodes arguments, eth-abi, is not installed", fix=INSTALL) from error

ADDRESSES = (OWNER, ALICE, BOB, *MOCKS, TARGET, 0, 2)
BOUNDARIES = (0, 1, 2, 3, 10, 100, 10**18, 1 << 128, (1 << 255) - 1, 1 << 255, WORD)
DIRT = (1, 2, 1 << 8, 1 << 32, 1 << 64, (1 << 64) - 1, 1 << 96, 1 << 128, 1 << 160, WORD)
"""Bits that are turned in a word that was well-formed."""
CONSTANTS_KEPT = 400


@dataclass(frozen=True, slots=True)
class Method:
    """A function that can be called: its name, selector, the ABI types of its arguments, whether it takes ether.

    `types` None: not known; arguments are words at random. selector None: calldata that no function claims, with types
    () always empty.
    """

    name: str
    selector: int | None
    types: tuple[str, ...] | None
    payable: bool = False


def methods_of(abi: list[dict[str, Any]]) -> list[Method]:
    """The functions of a Solidity ABI (JSON), and one method for calls that none of them takes."""
    found = [Method("(fallback)", None, None, any(e.get("stateMutability") == "payable" for e in abi))]
    for entry in abi:
        if entry.get("type", "function") == "function":
            types = [type_of(item) for item in entry.get("inputs", ())]
            signature = f"{entry['name']}({','.join(types)})"
            payable = entry.get("stateMutability") == "payable" or bool(entry.get("payable"))
            found.append(Method(signature, selector_of(signature), _words(types), payable))
    return found


_PLAIN = re.compile(r"(u?int\d*|bytes\d*|address|bool|string|function)(\[\d*\])*")


def methods_of_signatures(signatures: dict[str, str], abi: list[dict[str, Any]]) -> list[Method]:
    """The methods of {"0x12345678": "name(types)"}; whether they take ether is looked up in the ABI."""
    known = {method.selector: method for method in methods_of(abi)}
    found = [known[None]]
    for text, signature in sorted(signatures.items()):
        selector = int(text, 16)
        inner = signature[signature.index("(") + 1 : -1]
        types = _words(split_types(inner))
        payable = known[selector].payable if selector in known else False
        found.append(Method(signature, selector, types, payable))
    return found


def _words(types: list[str]) -> tuple[str, ...]:
    """Libraries have types that no ABI encodes (structs in storage, enums, contracts): those are words."""
    return tuple(kind if encodable(kind) else "uint256" for kind in types)


def encodable(kind: str) -> bool:
    """Whether it is an ABI type."""
    if kind.startswith("("):
        return all(encodable(part) for part in split_types(kind[1 : kind.rindex(")")]))
    return bool(_PLAIN.fullmatch(kind))


def type_of(item: dict[str, Any]) -> str:
    """The canonical type of an ABI entry: "tuple[]" becomes "(uint256,address)[]"."""
    name: str = item["type"]
    if not name.startswith("tuple"):
        return name
    return f"({','.join(type_of(part) for part in item['components'])}){name[len('tuple') :]}"


def constants(contract: Contract) -> list[int]:
    """Words of the contract's TAC, the most telling last: in the order of the code, each once, not the small ones."""
    found: dict[int, bool] = {}
    for function in contract.functions.values():
        for block in function.blocks.values():
            operands: list[Operand] = [arg for s in block.statements for arg in s.args]
            operands += [*block.end.args, *(v for phi in block.phis for v in phi.incoming.values())]
            for operand in operands:
                if isinstance(operand, int) and operand > 3:
                    found[operand] = True
    return list(found)[:CONSTANTS_KEPT]


class Pool:
    """Where words come from. Deterministic: all chance is the generator's."""

    def __init__(self, rng: Random, mined: list[int]) -> None:
        self.rng = rng
        self.mined = mined or [1]

    def word(self) -> int:
        kind = self.rng.randrange(8)
        if kind < 3:
            return self.rng.choice(BOUNDARIES)
        if kind == 3:
            return (self.rng.choice(self.mined) + self.rng.choice((-1, 0, 0, 1))) & WORD
        if kind == 4:
            return self.rng.choice(ADDRESSES)
        if kind == 5:
            return self.rng.getrandbits(256)
        return self.rng.randrange(300)

    def guess(self) -> int:
        """A word where no type is known: an address, a small number, an offset of what follows, or any."""
        kind = self.rng.randrange(4)
        if kind == 0:
            return self.rng.choice(ADDRESSES)
        if kind == 1:
            return self.rng.choice((0, 1, 1, 2, 3))
        return self.rng.choice((0x20, 0x40, 0x60, 0x80, 0xA0)) if kind == 2 else self.word()

    def number(self, bits: int) -> int:
        if self.rng.random() < 0.15:
            return self.rng.choice(((1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1))
        return self.word() & ((1 << bits) - 1)

    def address(self) -> int:
        chance = self.rng.random()
        if chance < 0.02:
            return 1 << 159  # what a mask of fewer bits takes for no address
        return self.rng.choice(ADDRESSES) if chance < 0.95 else self.rng.getrandbits(160)

    def size(self) -> int:
        return self.rng.choice((0, 1, 1, 2, 2, 3, 5))

    def blob(self) -> bytes:
        kind, size = self.rng.randrange(5), self.rng.choice((0, 1, 4, 20, 31, 32, 33, 64, 65, 100))
        if kind == 0:
            return b"".join(self.word().to_bytes(32, "big") for _ in range(size // 16))
        if kind == 1:
            return bytes(self.rng.choice(b"az09 AZ/:+=") for _ in range(size))
        return self.nested() if kind == 2 else self.rng.randbytes(size)

    def nested(self) -> bytes:
        """What a contract may decode in turn: its first words are offsets to a length and content, or small numbers."""
        words = [0x60, 0x60, 0x60, self.rng.choice((1, 1, 20, 32))]
        words += [self.rng.choice((*ADDRESSES, 1, self.word())) for _ in range(self.rng.randrange(1, 4))]
        if self.rng.random() < 0.3:  # within a struct
            words.insert(0, 0x20)
        return b"".join(word.to_bytes(32, "big") for word in words)

    def value(self, kind: str) -> Any:
        """A value of that ABI type, as eth-abi wants it."""
        if kind.endswith("]"):
            inner, count = kind[:-1].rsplit("[", 1)
            return [self.value(inner) for _ in range(int(count) if count else self.size())]
        if kind.startswith("("):
            return tuple(self.value(part) for part in split_types(kind[1:-1]))
        return self._plain(kind)

    def _plain(self, kind: str) -> Any:
        if kind == "address":
            return f"0x{self.address():040x}"
        if kind == "bool":
            return self.rng.random() < 0.5
        if kind == "string":
            return self.blob().decode("latin-1")
        if kind == "bytes":
            return self.blob()
        if kind == "function":
            return self.address().to_bytes(20, "big") + self.rng.randbytes(4)
        if kind.startswith("bytes"):
            return self.word().to_bytes(32, "big")[: int(kind[5:])]
        bits = int(kind.lstrip("uint") or 256)
        number = self.number(bits)
        return number - (1 << bits) if kind.startswith("int") and number >> (bits - 1) else number

    def calldata(self, method: Method) -> bytes:
        """A call of the method: well-formed where its types are known."""
        if method.selector is None and method.types == ():
            return b""
        if method.selector is None:
            return self.rng.choice(
                (b"", b"", self.rng.randbytes(3), self.rng.randbytes(4), self.rng.randbytes(68))
            )
        head = method.selector.to_bytes(4, "big")
        if method.types is None:
            return head + b"".join(self.guess().to_bytes(32, "big") for _ in range(10))
        kinds = any_bytes(method.types)
        return head + eth_abi.encode(kinds, [self.value(kind) for kind in kinds])

    def malformed(self, data: bytes) -> bytes:
        """The calldata cut, lengthened, or with one word replaced or dirty."""
        kind = self.rng.randrange(4)
        if kind == 0:
            return data[: self.rng.randrange(len(data) + 1)]
        if kind == 1:
            return data + self.rng.randbytes(self.rng.randrange(40))
        words = max((len(data) - 4) // 32, 1)
        at = 4 + 32 * self.rng.randrange(words)
        word = self.word()
        if kind == 3:
            word = int.from_bytes(data[at : at + 32], "big") ^ self.rng.choice(DIRT)
        return data[:at] + word.to_bytes(32, "big") + data[at + 32 :]


def any_bytes(types: Sequence[str]) -> list[str]:
    """With `bytes` for `string`, which is encoded alike: no contract looks at whether it is UTF-8."""
    return [kind.replace("string", "bytes") for kind in types]


def split_types(text: str) -> list[str]:
    """The types of "uint256,(address,bytes)[],bool", at the outermost commas."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]] if text else []


def cleaned(method: Method, data: bytes) -> bytes:
    """The calldata with nothing in the words of the heads but the bits of their types; where it is cut off, with zeros."""
    kinds, words = _heads(method, data)
    for at, kind in enumerate(kinds):
        dirt = _dirt(kind)
        words[at] &= WORD ^ dirt
        if kind.startswith("int") and words[at] & (dirt & -dirt) >> 1:
            words[at] |= dirt
    return _with_heads(data, words)


def soiled(method: Method, data: bytes) -> list[bytes]:
    """For each word of the heads whose type does not have all bits: the calldata with those turned that it does not have."""
    kinds, words = _heads(method, data)
    return [
        _with_heads(data, [*words[:at], words[at] ^ dirt, *words[at + 1 :]])
        for at, kind in enumerate(kinds)
        if (dirt := _dirt(kind))
    ]


def _heads(method: Method, data: bytes) -> tuple[list[str], list[int]]:
    """Types and words of the heads."""
    kinds = [word for kind in method.types or () for word in flat(kind)]
    places = range(4, 4 + 32 * len(kinds), 32)
    return kinds, [int.from_bytes(data[at : at + 32].ljust(32, b"\0"), "big") for at in places]


def _with_heads(data: bytes, words: list[int]) -> bytes:
    return data[:4] + b"".join(word.to_bytes(32, "big") for word in words) + data[4 + 32 * len(words) :]


def _dirt(kind: str) -> int:
    """A mask of the bits of a word that a type does not have. Of truths none: compilers look at one bit, eight, or all."""
    sized = re.fullmatch(r"(u?int|bytes)(\d+)", kind)
    if sized is None:
        return {"address": WORD << 160 & WORD, "function": (1 << 64) - 1}.get(kind, 0)
    bits = int(sized[2])
    return (1 << 256 - 8 * bits) - 1 if sized[1] == "bytes" else WORD << bits & WORD


def well_formed(method: Method, data: bytes) -> bool:
    """Whether the calldata cannot fail to be decoded as the method's arguments."""
    if method.types is None:
        return True
    try:
        eth_abi.decode(any_bytes(method.types), data[4:])
    except (DecodingError, OverflowError, ValueError):
        return False
    return True
