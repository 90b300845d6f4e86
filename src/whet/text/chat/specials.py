"""The control tokens of a tokenizer in a rendered conversation: finding those the template wrote, hiding the others.

Control tokens are the special ones, and those added ones that the template writes (`written`). A content may hold the
string of one. Before it is rendered, a sign that stands nowhere in the conversation is put into every such string, and
into what could become one at the border of two contents; in the rendering only unbroken strings count, and the sign is
taken out of the rest. So nobody's text becomes a control id, whatever the template does with it short of taking it
apart. Only assistant and system may write some that are not special and mark no turn: a thought, a call of a tool.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from whet.errors import DataError
from whet.text.chat.written import Written
from whet.text.refused import Refused

if TYPE_CHECKING:
    from whet.text.tokenizer import Tokenizer

Said = Sequence[dict[str, Any]]
"""Messages or tools as templates are given them."""

ROLE = "role"
"""Of a message, one of four words; elsewhere a name like any other."""

_KEYS = frozenset({"type", "function", "name", "arguments", "description", "parameters", "properties"})
"""No control token's string stands in these."""

_TRUSTED = ("assistant", "system")
"""Roles that may write control tokens that are not special and mark no turn."""

NO_SIGN = "holds every private character"

_ESCAPED = re.compile(r"\\u[0-9a-f]{4}")
"""How JSON in ASCII writes a character, or half of a rare one."""

_PRIVATE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


class Specials:
    """`pattern` finds control tokens as the tokenizer does, with white space that belongs to them; `borders` only those
    that nobody but the template writes. `ids` by name, `names` by id; `ends`: ids of those in `borders`."""

    def __init__(self, tokenizer: Tokenizer, template: str, written: Written | None = None) -> None:
        """Raises DataError for a special token of one character, which cannot be broken."""
        written = written or Written()
        added = tokenizer.backend.get_added_tokens_decoder()
        tokens = {
            str(token.content): (index, token)
            for index, token in added.items()
            if token.special or str(token.content) in written.names
        }
        for name in tokens:
            if len(name) < 2:
                raise DataError(
                    f"the special token {name!r} is one character: no text that holds it can be told from it",
                    where="tokenizer",
                )
        own = [name for name, (_, token) in tokens.items() if token.special or name in written.turns]
        self.ids = {name: index for name, (index, _) in tokens.items()}
        self.names = {index: name for name, index in self.ids.items()}
        self.ends = frozenset(self.ids[name] for name in own)
        self.pattern, self.borders = (
            _any_of(_as_found(tokens[name][1]) for name in _longest_first(some)) for some in (tokens, own)
        )
        self._all = _Hidden(tokens)
        self._own = _Hidden(own) if len(own) < len(tokens) else self._all
        self.absorb = any(token.lstrip or token.rstrip for _, token in tokens.values())
        self._taken = set(template).union(*tokens, _ESCAPED.findall(template))

    def id_of(self, found: str) -> int:
        """The id of what `pattern` found."""
        return self.ids[found] if found in self.ids else self.ids[found.strip()]

    def within(self, messages: Said, tools: Said) -> set[str]:
        """The control tokens whose strings stand where they may not be written."""
        return {
            match[0] for text, names in self._texts(messages, tools) for match in names.plain.finditer(text)
        }

    def hidden(self, messages: Said, tools: Said) -> tuple[Said, Said, str]:
        """Messages and tools with the sign wherever a control token's string stands or could arise; and the sign.

        The sign is "" if nothing had to be hidden. Raises Refused if no character is left for it.
        """
        texts = list(self._texts(messages, tools))
        if not any(names.touches(text) for text, names in texts):
            return messages, tools, ""
        sign = self._sign([text for text, _ in texts])
        broken = [
            {
                key: value if key == ROLE else self._for(said).mapped(value, sign)
                for key, value in said.items()
            }
            for said in messages
        ]
        return broken, self._all.mapped(tools, sign), sign

    def _sign(self, texts: list[str]) -> str:
        used = self._taken.union(*texts, *map(_ESCAPED.findall, texts))
        for characters in _PRIVATE:
            for code in characters:
                if chr(code) not in used and _escaped(chr(code))[-6:] not in used:
                    return chr(code)
        raise Refused(NO_SIGN)

    def _texts(self, messages: Said, tools: Said) -> Iterator[tuple[str, _Hidden]]:
        """Every text, and what may not be written in it."""
        for message in messages:
            names = self._for(message)
            for key, value in message.items():
                if key != ROLE:
                    yield from ((text, names) for text in strings(value))
        yield from ((text, self._all) for text in strings(tools))

    def _for(self, message: Mapping[str, Any]) -> _Hidden:
        return self._own if message[ROLE] in _TRUSTED else self._all


def without(sign: str, text: str) -> str:
    """A rendering as it was meant: without the sign, also as JSON writes it in ASCII."""
    return text.replace(sign, "").replace(_escaped(sign), "") if sign else text


def _escaped(sign: str) -> str:
    return json.dumps(sign)[1:-1]


class _Hidden:
    """Names, and where the sign breaks them in a text. `plain` finds them."""

    def __init__(self, names: Iterable[str]) -> None:
        names = _longest_first(names)
        self.plain = _any_of(map(re.escape, names))
        self._any_start = re.compile(f"(?=({self.plain.pattern}))")
        self._beginnings = _by_sign((name[:size] for name in names for size in range(1, len(name))), -1)
        self._endings = _by_sign((name[size:] for name in names for size in range(1, len(name))), 0)

    def touches(self, text: str) -> bool:
        """Whether a name stands in the text, or could arise at its borders."""
        return self.plain.search(text) is not None or next(self._borders(text), None) is not None

    def broken(self, text: str, sign: str, *, borders: bool = True) -> str:
        """The text with the sign in every name, and with `borders` in what could become one."""
        places = {match.start() + 1 for match in self._any_start.finditer(text)}
        places.update(self._borders(text) if borders else ())
        if not places:
            return text
        cuts = [0, *sorted(places), len(text)]
        return sign.join(text[start:stop] for start, stop in pairwise(cuts))

    def mapped(self, values: Any, sign: str) -> Any:
        """Plain values, their texts broken. Names of values are shown between quotes, if at all: they have no border."""
        if isinstance(values, str):
            return self.broken(values, sign)
        if isinstance(values, dict):
            return {
                self.broken(name, sign, borders=False): self.mapped(value, sign)
                for name, value in values.items()
            }
        return [self.mapped(value, sign) for value in values] if isinstance(values, list | tuple) else values

    def _borders(self, text: str) -> Iterator[int]:
        """Where the sign breaks what could be the beginning of a name at the text's end, or the end of one at its
        beginning; templates may strip white space."""
        ended = text.rstrip()
        for part in self._beginnings.get(ended[-1:], ()):
            if ended.endswith(part):
                yield len(ended) - len(part) + 1
        begun = text.lstrip()
        for part in self._endings.get(begun[:1], ()):
            if begun.startswith(part):
                yield len(text) - len(begun) + len(part) - 1


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (-len(name), name))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns) or "(?!)")


def _by_sign(parts: Iterable[str], at: int) -> dict[str, list[str]]:
    """Parts of names by their first (0) or last (-1) character."""
    found: dict[str, list[str]] = {}
    for part in dict.fromkeys(parts):
        found.setdefault(part[at], []).append(part)
    return found


def _as_found(token: Any) -> str:
    """The pattern by which the tokenizers library finds an added token in a text."""
    found = re.escape(str(token.content))
    if token.single_word:
        found = rf"(?<!\w){found}(?!\w)"
    return f"{_BEFORE if token.lstrip else ''}{found}{_BLANK + '*' if token.rstrip else ''}"


_BLANK = r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""White space as Rust knows it."""
_BEFORE = rf"(?:(?<!{_BLANK}){_BLANK}+)?+"
"""A whole run of it, tried from its beginning only: the work would grow with the square of its length."""


def strings(values: Any) -> Iterator[str]:
    """Every text in plain values, names of values too."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict):
        for key, value in values.items():
            if key not in _KEYS:
                yield key
            yield from strings(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from strings(value)
