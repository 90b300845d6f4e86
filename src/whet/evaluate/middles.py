"""Held-out ends of lines, written by the model between what stands before and after: exact matches, counted.

From each of some documents, chosen by the seed, one middle is taken: from a character within a line to the end
of that line (the line break is not part of it), not blank, at most `new_tokens` tokens. The prompt is

    <bos> <fim_prefix> P <fim_suffix> S <fim_middle>

with at most as many tokens as the stage's rows had: each side may take half of the room, or what the other
leaves; the prefix loses its beginning (with `<bos>`), the suffix its end, and that is counted. Decoding is
greedy. A match is the same bytes, nothing stripped, ended by `<eos>` and without other special tokens.

Not measured: whether another middle would have been as good. A line that says the same in other words is no
match here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.fill_in_the_middle import sentinel_ids
from whet.models.decoder import Decoder
from whet.models.generation import generate
from whet.recipe.decoding import Greedy
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore

TRIES = 8
"""Places looked at in a document before it is passed over."""

SHOWN_CHARACTERS = 400
"""How much of prefix and suffix an example keeps."""


_LINE = re.compile(r"[^\r\n]+")


@dataclass(frozen=True, slots=True)
class Middle:
    """One place to fill in: what stands before, what is asked for, what stands after."""

    document: int
    prefix: str
    expected: str
    suffix: str


def filled(
    decoder: Decoder,
    tokenizer: Tokenizer,
    store: TokenStore,
    *,
    count: int,
    new_tokens: int,
    length: int,
    seed: int,
    where: str,
) -> dict[str, Any]:
    """Exact matches of at most `count` middles from different documents of `store`, and every example.

    `length` is the longest row that the stage trained on; prompt and middle together stay within it.
    """
    sentinels = sentinel_ids(tokenizer, where)
    new_tokens = min(new_tokens, length // 2)
    chosen, unusable = choose(store, tokenizer, count=count, new_tokens=new_tokens, seed=seed)
    origins = [about["origin"] for about in store.origins()]
    examples, cut = [], {"prefixes_cut": 0, "suffixes_cut": 0}
    for middle in chosen:
        prompt, kept = _prompt(middle, tokenizer, sentinels, room=length - new_tokens - 1)
        cut["prefixes_cut"] += not kept[0]
        cut["suffixes_cut"] += not kept[1]
        # one more than a middle may have, for <eos>
        new = generate(decoder, prompt, Greedy(), new_tokens=new_tokens + 1, seed=seed)
        answer = judged(middle, new, tokenizer, ended=len(new) <= new_tokens)
        examples.append({"origin": origins[middle.document], **answer})
    matches = sum(example["exact"] for example in examples)
    return {
        "count": len(examples),
        "matches": matches,
        "share": wilson(matches, len(examples)),
        "new_tokens": new_tokens,
        "documents_unusable": unusable,
        **cut,
        "examples": examples,
    }


def choose(
    store: TokenStore, tokenizer: Tokenizer, *, count: int, new_tokens: int, seed: int
) -> tuple[list[Middle], int]:
    """At most `count` middles, one a document, and how many documents were passed over for lack of one."""
    random = np.random.PCG64([seed, 11])
    order = np.argsort(random.random_raw(len(store)), kind="stable").tolist() if len(store) else []
    chosen: list[Middle] = []
    unusable = 0
    for document in order:
        if len(chosen) == count:
            break
        text = tokenizer.decode(store.document(document).tolist())
        found = _place(text, tokenizer, new_tokens, np.random.PCG64([seed, 12, document]))
        if found is None:
            unusable += 1
        else:
            begin, end = found
            chosen.append(Middle(document, text[:begin], text[begin:end], text[end:]))
    return chosen, unusable


def _place(
    text: str, tokenizer: Tokenizer, new_tokens: int, random: np.random.PCG64
) -> tuple[int, int] | None:
    """Begin and end of a middle, or None where none was found in a few tries."""
    ends = _lines(text)
    for line, place in random.random_raw(2 * TRIES).reshape(-1, 2).tolist() if ends else ():
        first, end = ends[line % len(ends)]
        first = max(first, end - new_tokens)
        begin = first + place % (end - first)
        middle = text[begin:end]
        if not middle.isspace() and len(tokenizer.encode_parts([middle])[0]) <= new_tokens:
            return begin, end
    return None


def _lines(text: str) -> list[tuple[int, int]]:
    """First character after the indentation and end of every line that is not blank."""
    found = []
    for line in _LINE.finditer(text):
        indent = len(line[0]) - len(line[0].lstrip())
        if indent < len(line[0]):
            found.append((line.start() + indent, line.end()))
    return found


def _prompt(
    middle: Middle, tokenizer: Tokenizer, sentinels: tuple[int, int, int], *, room: int
) -> tuple[list[int], tuple[bool, bool]]:
    """Ids of the prompt, at most `room`, and whether prefix and suffix are whole."""
    pre, mid, suf = sentinels
    prefix, suffix = tokenizer.encode_parts([middle.prefix, middle.suffix])
    prefix = [tokenizer.special_ids["bos"], *prefix]
    free = max(0, room - 3)
    before = min(len(prefix), max(free // 2, free - len(suffix)))
    after = min(len(suffix), free - before)
    whole = before == len(prefix), after == len(suffix)
    begins, rest = (prefix[:1], prefix[1:]) if whole[0] else ([], prefix[len(prefix) - before :])
    return [*begins, pre, *rest, suf, *suffix[:after], mid], whole


def judged(middle: Middle, new: list[int], tokenizer: Tokenizer, *, ended: bool) -> dict[str, Any]:
    """What was asked for and what was written, and whether they are the same; `ended` if `<eos>` came in time."""
    plain = tokenizer.special_tokens.keys().isdisjoint(new)
    got = tokenizer.decode(new)
    return {
        "prefix": middle.prefix[-SHOWN_CHARACTERS:],
        "suffix": middle.suffix[:SHOWN_CHARACTERS],
        "expected": middle.expected,
        "got": got,
        "ended": ended,
        "exact": ended and plain and got == middle.expected,
    }


def wilson(matches: int, count: int, trials: float | None = None) -> dict[str, float | None]:
    """A share and its 95 % score interval (Wilson 1927), which stays within 0 and 1 also for no match at all.

    trials: how many independent ones the `count` are worth, where that is fewer.
    """
    if not count:
        return {"value": None, "low": None, "high": None}
    z, share, trials = 1.959963984540054, matches / count, trials or count
    spread = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    below = 1 + z**2 / trials
    centre = share + z**2 / (2 * trials)
    return {
        "value": share,
        "low": (centre - spread) / below if matches else 0.0,
        "high": (centre + spread) / below if matches < count else 1.0,
    }
