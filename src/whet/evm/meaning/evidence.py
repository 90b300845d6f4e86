"""Where the words of a walk are used: the index that all analyses of types look things up in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from functools import reduce
from operator import or_

from whet.evm.meaning.symbols import TRUTHS, Node, Word, mask_bits
from whet.evm.meaning.walk import Walk
from whet.evm.tac import WORD


class Uses:
    """users: {node: nodes that it is an argument of}; sums: {node: [(sum, factor)]}; asked: how often a branch was on it."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.users: dict[Node, list[Node]] = {}
        self.sums: dict[Node, list[tuple[Node, int]]] = {}
        for node in walk.symbols.nodes:
            if node.op == "SUM":
                for part, factor in node.args[1]:
                    self.sums.setdefault(part, []).append((node, factor))
            else:
                for arg in node.args:
                    if arg.__class__ is Node:
                        self.users.setdefault(arg, []).append(node)
        self.asked = Counter(condition for condition, *_ in walk.conditions)
        self.required = {
            condition
            for condition, function, block, _ in walk.conditions
            if walk.shapes.gives_up(function, block)
        }
        """Conditions on which a branch is that reverts without data otherwise, as the ABI decoder does."""
        self.kind_of: Callable[[Hashable], str] = _nothing
        """What the whole contract says of a word (`kinds`), once that is known."""

    def of(self, node: Node, op: str = "") -> list[Node]:
        return [user for user in self.users.get(node, ()) if not op or user.op == op]

    def is_checked_against(self, word: Node, cleaned: Node) -> bool:
        """Somewhere the two are compared: `word == clean(word)`, written as EQ, SUB or XOR."""
        for user in self.users.get(cleaned, ()):
            if user.op in ("EQ", "XOR") and word in user.args and user in self.required:
                return True
        return any(
            total in self.required
            and dict(total.args[1]).get(word) == -factor & WORD
            and len(total.args[1]) == 2
            and not total.args[0]
            for total, factor in self.sums.get(cleaned, ())
        )


def _nothing(word: Hashable) -> str:
    return ""


def cleaned_type(uses: Uses, cleaned: Node) -> str:
    """The type that AND, SIGNEXTEND or ISZERO leaves of its argument; "" if it is no cleanup."""
    if cleaned.op == "AND" and isinstance(cleaned.args[0], int):
        return mask_type(cleaned.args[0])
    if cleaned.op == "SIGNEXTEND" and isinstance(cleaned.args[0], int):
        return f"int{8 * (cleaned.args[0] + 1)}"
    if cleaned.op == "ISZERO" and isinstance(cleaned.args[0], Node) and cleaned.args[0].op == "ISZERO":
        return "bool"
    return ""


def mask_type(mask: int) -> str:
    """address for 160 low bits, uintN for N low bits, bytesN for the highest N bytes; "" for others."""
    low = mask_bits(mask)
    if low is not None and low % 8 == 0 and low < 256:
        return "address" if low == 160 else f"uint{low}"
    high = mask_bits(mask ^ WORD)
    if high is not None and high % 8 == 0 and mask:
        return f"bytes{32 - high // 8}"
    return ""


def checked_type(uses: Uses, word: Node) -> str:
    """The type that a check of dirty bits tells (solc >= 0.8, ABI coder v2); "" without one."""
    for user in uses.users.get(word, ()):
        kind = cleaned_type(uses, user)
        if kind and uses.is_checked_against(word, user):
            return "uint160" if kind == "address" and _is_computed_with(uses, word, user) else kind
        if user.op == "ISZERO":
            for twice in uses.of(user, "ISZERO"):
                if uses.is_checked_against(word, twice):
                    return "bool"
        if (
            user.op == "SHR"
            and isinstance(user.args[0], int)
            and user in uses.required
            and user.args[0] % 8 == 0
        ):
            return "address" if user.args[0] == 160 else f"uint{user.args[0]}"
    return ""


def _is_computed_with(uses: Uses, word: Node, cleaned: Node) -> bool:
    """Whether 160 bits are a number: multiplied or divided. Sums are no sign, they also pack fields."""
    return any(u.op in _PRODUCTS for one in (word, cleaned) for u in uses.users.get(one, ()))


_PRODUCTS = frozenset({"MUL", "DIV", "MOD", "MULMOD", "ADDMOD", "EXP"})


def masked_type(uses: Uses, word: Node) -> str:
    """The type that cleanups before use tell (older compilers); "" where something else takes bits that it does not have."""
    found = [kind for user in uses.users.get(word, ()) if (kind := cleaned_type(uses, user))]
    if found and _is_compared(uses, word):
        return ""
    taken = _taken(uses, word)
    found = [kind for kind in found if not taken & ~_bits(kind)]
    for user in uses.of(word, "AND"):
        if user.args[0] == 0xFF and _only_truth(uses, user):
            return "bool"
    if _twice_not(uses, word) and not _is_number(uses, word):
        return "bool"
    found = [kind for kind in found if kind != "bool"]
    if "address" in found:
        cleaned = [u for u in uses.of(word, "AND") if cleaned_type(uses, u) == "address"]
        found += ["uint160"] * any(_is_computed_with(uses, word, u) for u in cleaned)
        found = [kind for kind in found if kind != "address" or "uint160" not in found]
    return min(found, key=lambda kind: (not kind.startswith("bytes"), kind != "address", kind), default="")


def _taken(uses: Uses, word: Node) -> int:
    """A mask of the bits that are taken out of the word: masked, or shifted to the right with nothing cleaned before."""
    taken = 0
    for user in uses.users.get(word, ()):
        if user.op == "AND" and isinstance(user.args[0], int):
            taken |= user.args[0]
        elif user.op == "SHR" and isinstance(user.args[0], int) and user.args[0] < 256:
            masks = [u.args[0] if u.op == "AND" else WORD for u in uses.users.get(user, ())]
            kept = WORD if not masks else reduce(or_, (m if isinstance(m, int) else WORD for m in masks))
            taken |= kept << user.args[0] & WORD
    return taken


def _bits(kind: str) -> int:
    """A mask of the bits of a clean word of that type."""
    if kind.startswith("bytes"):
        return WORD << 8 * (32 - int(kind[5:])) & WORD
    size = {"bool": 8, "address": 160}.get(kind) or int(kind.lstrip("uint"))
    return (1 << size) - 1


def _is_compared(uses: Uses, word: Node) -> bool:
    """Whether it is compared as a whole with a constant, as before a cast."""
    return any(
        u.op in ("LT", "GT", "SLT", "SGT") and any(isinstance(a, int) and a >= 0xFF for a in u.args)
        for u in uses.users.get(word, ())
    )


def _twice_not(uses: Uses, word: Node) -> bool:
    return any(uses.of(user, "ISZERO") for user in uses.of(word, "ISZERO"))


def _only_truth(uses: Uses, word: Node) -> bool:
    """Used only to ask whether it is 0."""
    return bool(uses.of(word, "ISZERO")) and all(
        user.op in ("ISZERO", "AND") for user in uses.users.get(word, ())
    )


WORD_TYPES = ("uint256", "int256", "bytes32")

_ARITHMETIC = frozenset({"MUL", "DIV", "MOD", "EXP", "LT", "GT", "ADDMOD", "MULMOD", "SDIV", "SMOD"})
_SIGNED = frozenset({"SDIV", "SMOD", "SLT", "SGT", "SAR", "SIGNEXTEND"})


def _is_number(uses: Uses, word: Node) -> bool:
    return bool(uses.sums.get(word)) or any(user.op in _ARITHMETIC for user in uses.users.get(word, ()))


def full_type(uses: Uses, word: Node) -> str:
    """int256, bytes32 or, where nothing speaks for these, uint256: a word without a cleanup."""
    told = uses.kind_of(word)
    return told if told in WORD_TYPES else number_type(uses, word) or "uint256"


def number_type(uses: Uses, word: Node) -> str:
    """int256, bytes32 or uint256, by what is done with a word; "" where nothing is that tells."""
    users = uses.users.get(word, ())
    if any(user.op in _SIGNED and word in user.args[:2] for user in users):
        return "int256"
    if _is_number(uses, word):
        return "uint256"
    if len([u for u in users if u.op in ("AND", "SHR", "BYTE") and isinstance(u.args[0], int)]) > 1:
        return "bytes32"  # several fields packed in one word
    if any(_is_middle(uses, u) for u in users):
        return "bytes32"
    for user in users:
        if user.op == "BYTE" or (user.op == "EQ" and any(looks_hashed(arg) for arg in user.args)):
            return "bytes32"
    return ""


def _is_middle(uses: Uses, user: Node) -> bool:
    """Whether a field is taken out of the middle of a word, where division would leave no mask."""
    return (
        user.op == "SHR"
        and isinstance(user.args[0], int)
        and user.args[0] % 8 == 0
        and any(isinstance(u.args[0], int) and mask_type(u.args[0]) for u in uses.of(user, "AND"))
    )


def looks_hashed(word: Word) -> bool:
    if isinstance(word, int):
        return word >> 240 not in (0, 0xFFFF)
    return word.op in ("KECCAK256", "HASH")


def value_type(word: Word) -> str:
    """The type of a word by how it was made; "" if that does not tell."""
    if isinstance(word, int):
        return ""
    if word.op in TRUTHS:
        return "bool"
    if word.op in ("CALLER", "ADDRESS", "ORIGIN", "COINBASE", "CREATE", "CREATE2"):
        return "address"
    if word.op == "AND" and isinstance(word.args[0], int):
        return mask_type(word.args[0])
    if word.op == "OR":
        return _joined_type(word)
    if word.op == "SIGNEXTEND" and isinstance(word.args[0], int):
        return f"int{8 * (word.args[0] + 1)}"
    if word.op in ("KECCAK256", "HASH", "EXTCODEHASH", "BLOCKHASH", "BLOBHASH"):
        return "bytes32"
    if word.op == "SHL" and isinstance(word.args[0], int) and word.args[0] >= 128 and word.args[0] % 8 == 0:
        return f"bytes{32 - word.args[0] // 8}"
    if word.op == "SHR" and word.args[0] == 96:
        return "address"
    return ""


def _joined_type(word: Node) -> str:
    """bytesN of two masked words put together, as a cleanup of both of them is written; "" for others."""
    masks = [part.args[0] for part in word.args if isinstance(part, Node) and part.op == "AND"]
    if len(masks) != len(word.args) or not all(isinstance(mask, int) for mask in masks):
        return ""
    kind = mask_type(masks[0] | masks[1])
    return kind if kind.startswith("bytes") else ""
