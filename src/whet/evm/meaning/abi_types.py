"""Types as the ABI writes them, "(uint256,bytes)[2]": their parts, and how much room they take in an encoding."""

from __future__ import annotations


def types_of(signature: str) -> tuple[str, ...]:
    """The argument types of "f(address,(uint256,bool)[])"."""
    return split(signature[signature.index("(") + 1 : -1])


def split(types: str) -> tuple[str, ...]:
    """ "address,(uint256,bool)" at its outer commas."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(types):
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append(types[start:position])
            start = position + 1
    return (*parts, types[start:]) if types else ()


def head_words(kind: str) -> int:
    """Words that a value takes in the heads: all of it, or the offset at which it stands."""
    return len(flat(kind))


def flat(kind: str) -> tuple[str, ...]:
    """The types of the words in the heads: of a static struct or array those of its parts."""
    if is_dynamic(kind):
        return (kind,)
    if kind.endswith("]"):
        inner, _, count = kind[:-1].rpartition("[")
        return flat(inner) * int(count)
    if kind.startswith("("):
        return tuple(word for part in split(kind[1:-1]) for word in flat(part))
    return (kind,)


def inlined(types: str) -> str:
    """A list of types with structs that are encoded like their members on their own as these members."""
    return ",".join(part for kind in split(types) for part in _inlined(kind))


def _inlined(kind: str) -> tuple[str, ...]:
    if not kind.startswith("("):
        return (kind,)
    inner, _, rest = kind[1:].rpartition(")")
    members = inlined(inner)
    return (f"({members}){rest}",) if rest or is_dynamic(kind) else split(members)


def is_dynamic(kind: str) -> bool:
    """Whether its size is known only when running."""
    if kind.endswith("]"):
        inner, _, count = kind[:-1].rpartition("[")
        return not count or is_dynamic(inner)
    if kind.startswith("("):
        return any(is_dynamic(part) for part in split(kind[1:-1]))
    return kind in ("bytes", "string")
