"""Which compiler takes a file: of the supported ones that its pragma allows the one that most files of its project
allow, else the next newer one of its era.

Ranges are npm's (`^0.8.0`, `>=0.6.0 <0.8.0`, `0.5.x`, `0.4.18 - 0.6.0`, `||`), as solc reads them.
Source: https://docs.soliditylang.org/en/latest/layout-of-source-files.html#version-pragma
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from whet.evm.solc.npm import pins

Version = tuple[int, int, int]
Range = tuple[Version, Version]
"""From the first version up to, and not with, the second."""

_DIGITS = 10
_END: Version = (1 << 30, 0, 0)
_PART = re.compile(r"(\^|~|>=|<=|>|<|=)?\s*v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?\s*")


class Unreadable(ValueError):
    """What stands behind `pragma solidity` is no range of versions."""


@cache
def supported() -> tuple[Version, ...]:
    """The compilers that whet was tried with, oldest first."""
    return tuple(sorted(number(key.partition("@")[2]) for key in pins() if key.startswith("solc@")))


def number(version: str) -> Version:
    """ "0.8.30", also with "v" before it or "+commit..." behind it. Raises Unreadable."""
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(?:[+-].*)?", version.strip())
    if not match:
        raise Unreadable(f"no version: {version!r}")
    return _number(match[1]), _number(match[2]), _number(match[3])


def written(version: Version) -> str:
    """ "0.8.30"."""
    return ".".join(map(str, version))


def ranges(pragma: str) -> list[Range]:
    """What one pragma allows; several are alternatives. Raises Unreadable."""
    bare = pragma.replace('"', "").replace("'", "")
    return [found for part in bare.split("||") if (found := _all(part.strip()))[0] < found[1]]


def allowed(asked: Sequence[str], versions: Sequence[Version]) -> list[Version]:
    """Those of `versions` that all pragmas allow. Raises Unreadable."""
    wanted = [ranges(one) for one in asked]
    return [v for v in versions if all(any(low <= v < high for low, high in one) for one in wanted)]


def choose(
    asked: Sequence[str], versions: Sequence[Version], files: Mapping[Version, int] | None = None
) -> tuple[Version | None, bool]:
    """Of those of `versions` that all pragmas allow the one that most files allow, the newest of these, and True. Else of
    the first pragma's era the oldest that is newer (it knows the same language and EVM versions), or the newest, and
    False. files: how many files of the project allow each.

    (None, False) if there is none of that era. Raises Unreadable.
    """
    if good := allowed(asked, versions):
        return max(good, key=lambda v: ((files or {}).get(v, 0), v)), True
    first = ranges(asked[0]) if asked else []
    if not first:
        return None, False
    low = min(low for low, _ in first)
    era = [v for v in versions if v[:2] == low[:2]]
    return min((v for v in era if v >= low), default=max(era, default=None)), False


def _all(text: str) -> Range:
    if match := re.fullmatch(r"(\S+)\s+-\s+(\S+)", text):
        first, last = _single(match[1]), _single(match[2])
        return first[0], last[1]
    low: Version = (0, 0, 0)
    high = _END
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if not part:
            raise Unreadable(f"no range of versions: {text!r}")
        one = _compared(part[1] or "=", part.groups()[1:])
        low, high = max(low, one[0]), min(high, one[1])
        at = part.end()
    if not text:
        raise Unreadable("a pragma without a version")
    return low, high


def _single(text: str) -> Range:
    part = _PART.fullmatch(text)
    if not part or part[1]:
        raise Unreadable(f"no version: {text!r}")
    return _compared("=", part.groups()[1:])


def _compared(sign: str, given: Sequence[str | None]) -> Range:
    known = [_number(one) for one in given if one is not None and one not in "xX*"]
    low = _filled(known)
    after = _filled([*known[:-1], known[-1] + 1]) if known else _END
    if sign == "^" and known:
        place = next((at for at, one in enumerate(known) if one), len(known) - 1)
        return low, _filled([*known[:place], known[place] + 1])
    if sign == "~" and len(known) > 1:
        return low, _filled([known[0], known[1] + 1])
    return {
        ">=": (low, _END),
        ">": (after, _END),
        "<": ((0, 0, 0), low),
        "<=": ((0, 0, 0), after),
    }.get(sign, (low, after))


def _number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise Unreadable(f"no version: {digits[:20]}...")
    return int(digits)


def _filled(known: Sequence[int]) -> Version:
    major, minor, patch = (*known, 0, 0, 0)[:3]
    return major, minor, patch
