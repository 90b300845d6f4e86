"""A function that a model wrote, as it has to stand in the author's contract."""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.one_function import Written, edited, inheriting, renamings
from whet.evm.pairs.nouns import PLACE


def in_contract(written: Written, author: Written, names: Mapping[str, str], *, renamed: bool) -> str:
    """The text as it has to stand in the author's contract.

    names: {name of the prompt's: the author's}. renamed: the function gets the author's name, as nobody can know it. `virtual`
    and `override`, which no bytecode shows, are the author's.
    """
    functions = {name: theirs for name, theirs in names.items() if PLACE.fullmatch(name)}
    variables = {name: theirs for name, theirs in names.items() if name not in functions}
    left_out = dict(inheriting(written))
    changes = {
        start: change
        for start, change in renamings(written, variables, functions, author.called if renamed else "")
        if not any(begin <= start < end for begin, end in left_out.items())
    }
    words = "".join(f" {author.text[start:end]}" for start, end in inheriting(author))
    changes |= {start: (end, "") for start, end in left_out.items()}
    closing = written.tokens[written.closing]
    changes[closing.start] = (closing.end, f"){words}")
    return edited(written, range(len(written.tokens)), changes)
