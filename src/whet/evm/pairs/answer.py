"""What is learned of a pair: the source as it was written, or with the names that its prompt has.

Nobody who sees a prompt can know that `stor_3` was called `_balances`. With `context` the answer has the prompt's names where
they are proved to be the same thing (`names`); all else stays. Exactly what the author wrote is replaced, by the compiler's
syntax tree: strings, comments, members, labels of arguments and what shadows a name stay.
"""

from __future__ import annotations

import re
from typing import Literal

from whet.evm.pairs.inventory import tokens
from whet.evm.pairs.nouns import Pair
from whet.evm.pairs.prompt import Metadata

Names = Literal["author", "context"]

_HEADER = re.compile(r"^function (\w+)\(", re.MULTILINE)


def answer(pair: Pair, metadata: Metadata, names: Names) -> str:
    """names: whose. A name that the text has for something else already is not put in another's place."""
    if names == "author":
        return pair.source
    view = pair.shown if metadata == "shown" else pair.hidden
    told = {author: name for name, author in view.names.items() if author != pair.name}
    places = {author: pair.mentions.get(author, []) for author in told}
    own = own_name(view.tac)
    if metadata == "hidden" and own and pair.kind in ("function", "freeFunction"):
        told[pair.name] = own
        places[pair.name] = [*_in_header(pair), *pair.mentions.get(pair.name, ())]
    there = set(tokens(pair.source))
    changes = [
        (at, author, name) for author, name in told.items() if name not in there for at in places[author]
    ]
    text = pair.source
    for at, author, name in sorted(changes, reverse=True):
        text = text[:at] + name + text[at + len(author) :]
    return text


def own_name(tac: str) -> str:
    """The name in a function's header, which stands below notes; "" without one."""
    match = _HEADER.search(tac)
    return match[1] if match else ""


def _in_header(pair: Pair) -> list[int]:
    match = re.match(rf"function\s+({re.escape(pair.name)})\b", pair.source)
    return [match.start(1)] if match else []
