"""Bytes to text, without guessing.

UTF-8 is the rule. Another encoding is used only where the bytes themselves name it: a byte-order mark,
or the coding cookie of a Python file (PEP 263). Everything else is refused with a reason, since a wrong
guess is damage that nobody sees. The result never holds a lone surrogate. Newlines stay as they are.

Cost: about three passes over the bytes in C; the text is held once beside them.
"""

from __future__ import annotations

import codecs
import re

from whet.text.refused import Refused

BINARY = "binary"
UNDECODABLE = "undecodable"
REASONS = (BINARY, UNDECODABLE)

SNIFFED_BYTES = 8192
"""How much of a file `looks_binary` needs to see; git looks at as much."""

CONTROL_SHARE = 0.10
"""Above this share of control bytes the input is not text (measured: text of every kind stays below 0.01)."""

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b")) + b"\x7f"
# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COOKIE = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_NO_CODE = re.compile(rb"[ \t\f]*(#.*)?\Z")
# Plain character tables only. Python knows more "text" codecs (unicode_escape, punycode, idna, utf-7), but
# no editor saves a file in them, some yield lone surrogates and punycode takes quadratic time.
_TABLES = re.compile(
    r"ascii|utf-8(-sig)?|iso8859-\d+|cp\d+|koi8-[rtu]|mac-\w+|gb2312|gbk|gb18030|big5(hkscs)?|shift_jis\w*"
    r"|euc_\w+|iso2022_\w+|johab|hz|kz1048|ptcp154|tis-620|hp-roman8"
)


class Undecodable(Refused):
    """Bytes that are not text in an encoding they name; `reason` is one of REASONS."""


def decode(raw: bytes, *, python: bool = False) -> tuple[str, tuple[str, ...]]:
    """The text of `raw` and the names of what was done to get it (empty for plain UTF-8).

    With `python`, a PEP 263 coding cookie in the first two lines is obeyed.
    Raises Undecodable with reason "binary" or "undecodable".
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark) and (text := _marked(raw, encoding)) is not None:
            return text, (f"decoded as {encoding}",)
    if _is_binary(raw):
        raise Undecodable(BINARY, "NUL bytes" if 0 in raw else "mostly control bytes")
    body = raw.removeprefix(codecs.BOM_UTF8)
    changes = ("byte-order mark removed",) if len(body) < len(raw) else ()
    encoding = _cookie(body, marked=bool(changes)) if python else "utf-8"
    text = _strict(body, encoding)
    if encoding == "utf-8" or text.encode("utf-8") == body:
        return text, changes
    return text, (f"decoded as {encoding.replace('iso8859', 'iso-8859')}",)


def looks_binary(raw: bytes) -> bool:
    """Whether these bytes, or the first SNIFFED_BYTES of a file, cannot be text.

    NUL bytes count unless a UTF-16 or UTF-32 byte-order mark explains them.
    """
    return not any(raw.startswith(mark) for mark, _ in _MARKS) and _is_binary(raw)


def _is_binary(raw: bytes) -> bool:
    return 0 in raw or len(raw) - len(raw.translate(None, _CONTROLS)) > CONTROL_SHARE * len(raw)


def _marked(raw: bytes, encoding: str) -> str | None:
    """The text if the mark tells the truth; None leaves the bytes to the next rule."""
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _strict(body: bytes, encoding: str) -> str:
    try:
        text = body.decode(encoding)
        text.encode("utf-8")
    except UnicodeDecodeError as error:
        raise Undecodable(UNDECODABLE, f"not {encoding} at byte {error.start}") from None
    except UnicodeError:
        raise Undecodable(UNDECODABLE, f"{encoding} gives characters that are none") from None
    return text


def _cookie(body: bytes, *, marked: bool) -> str:
    """The codec that a Python file names, as Python calls it; "utf-8" if it names none (PEP 263)."""
    lines = re.split(rb"\r\n?|\n", body[:SNIFFED_BYTES], maxsplit=2)[:2]
    found = _COOKIE.match(lines[0])
    if not found and len(lines) > 1 and _NO_CODE.match(lines[0]):
        found = _COOKIE.match(lines[1])
    if not found:
        return "utf-8"
    wanted = found[1].decode("ascii", "replace")
    name = _codec_name(wanted)
    if name is None:
        raise Undecodable(UNDECODABLE, f"names the coding {wanted[:40]!r}, which is no character table")
    if marked and name != "utf-8":
        raise Undecodable(UNDECODABLE, f"a UTF-8 byte-order mark, and a cookie that says {wanted[:40]!r}")
    return name


def _codec_name(wanted: str) -> str | None:
    """Python's own name of a codec, if it is one of the plain character tables."""
    if len(wanted) > 40:
        return None
    try:
        name = codecs.lookup(wanted).name
    except (LookupError, ValueError):
        return None
    name = "utf-8" if name == "utf-8-sig" else name
    return name if _TABLES.fullmatch(name) else None
