"""What is learned of a pair: the source as it was written, or with the names that its prompt has.

Nobody who sees a prompt can know that `stor_3` was called `_balances`. With `context` the answer has the prompt's names where
they are proved to be the same thing (`names`); all else stays, also where the prompt left out what shows its name. Exactly
what the author wrote is replaced, by the compiler's syntax tree: strings, comments, members, labels of arguments and what
shadows a name stay.
"""

from __future__ import annotations

import re
from typing import Literal

from whet.evm.pairs.inventory import tokens
from whet.evm.pairs.nouns import Pair
from whet.evm.pairs.prompt import Metadata, Prompt, told

Names = Literal["author", "context"]

_HEADER = re.compile(r"^function (\w+)\(", re.MULTILINE)


def answer(pair: Pair, metadata: Metadata, names: Names, asked: Prompt | None = None) -> str:
    """names: whose. asked: the prompt, whose names these are; without, one that leaves nothing out. A name that the text
    has for something else already is not put in another's place."""
    if names == "author":
        return pair.source
    view = pair.shown if metadata == "shown" else pair.hidden
    shown = view.names.keys() if asked is None else _words(pair, asked)
    ours = {author: name for name, author in view.names.items() if author != pair.name and name in shown}
    places = {author: pair.mentions.get(author, []) for author in ours}
    own = own_name(view.tac)
    if metadata == "hidden" and own and pair.kind in ("function", "freeFunction"):
        ours[pair.name] = own
        places[pair.name] = [*_in_header(pair), *pair.mentions.get(pair.name, ())]
    there = set(tokens(pair.source))
    changes = [
        (at, author, name) for author, name in ours.items() if name not in there for at in places[author]
    ]
    text = pair.source
    for at, author, name in sorted(changes, reverse=True):
        text = text[:at] + name + text[at + len(author) :]
    return text


def _words(pair: Pair, asked: Prompt) -> set[str]:
    """What stands in a prompt, but for the metadata: words there name nothing in the code."""
    return set(re.findall(r"\w+", asked.text.removeprefix(told(pair))))


def own_name(tac: str) -> str:
    """The name in a function's header, which stands below notes; "" without one."""
    match = _HEADER.search(tac)
    return match[1] if match else ""


def _in_header(pair: Pair) -> list[int]:
    match = re.match(rf"function\s+({re.escape(pair.name)})\b", pair.source)
    return [match.start(1)] if match else []
