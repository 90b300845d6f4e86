"""Which held-out functions are asked, and how: the prompts of the prepared data, with the pairs they were made from.

The functions are drawn by systematic sampling: all that are held out, in the order of era, length of the author's text and
then a hash, and of these every n-th. So each kind has the share in the sample that it has in the whole, and the figures are
those of the whole but for chance. A function whose metadata is shown in one record and hidden in another is drawn with both.

Memory: the held-out pairs of one domain. Cost: where some are left out, all authors' texts are parsed (about a millisecond
each).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whet.errors import WhetError
from whet.evaluate.samples import last_answer
from whet.evaluate.written import LENGTHS
from whet.evm.pairs.nouns import Pair, View
from whet.evm.pairs.prompt import Metadata
from whet.metrics.solidity.syntax import parse
from whet.sources.solidity import SoliditySource
from whet.text.conversation import from_text
from whet.tokenstore import TokenStore

Key = tuple[int, str]
"""Which entry of the stage's `data`, and the record's origin."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A held-out record. `prompt`: what is asked, without the task and the template; `ids`: all of it, as in training.

    `true`: the answer that training would have taught. `entry`: which source of the stage's `data` it came from.
    """

    pair: Pair
    metadata: Metadata
    origin: str
    entry: int
    prompt: str
    true: str
    ids: list[int]

    @property
    def via_ir(self) -> bool:
        """Whether it was compiled through Yul."""
        return "-ir" in self.pair.build


@dataclass(frozen=True, slots=True)
class HeldOut:
    """asked: those drawn, in the order of the prepared data. there: how many records are held out. gone: how many of these
    the sources no longer give."""

    asked: list[Asked]
    there: int
    gone: int


def keys(store: TokenStore) -> dict[Key, int]:
    """The records of a split and their places in it."""
    origins = (about["origin"] for about in store.origins())
    return {key: at for at, key in enumerate(zip(store.sources().tolist(), origins, strict=True))}


def held_out(store: TokenStore, sources: Mapping[int, SoliditySource], count: int) -> HeldOut:
    """At most `count` records of a split. sources: by their place in the stage's `data`."""
    places = {key: at for key, at in keys(store).items() if key[0] in sources}
    found: dict[int, Asked] = {}
    for entry, source in sources.items():
        for pair, record in source.pairs():
            at = places.get((entry, record.origin))
            if at is not None:
                ids = store.document(at).tolist()[: last_answer(store, at)]
                _, asked, answer = from_text(record.text).messages
                found[at] = Asked(
                    pair,
                    metadata_of(pair, record.origin),
                    record.origin,
                    entry,
                    asked.content,
                    answer.content,
                    ids,
                )
    chosen = drawn([found[at] for at in sorted(found)], count)
    return HeldOut(chosen, len(places), len(places) - len(found))


def metadata_of(pair: Pair, origin: str) -> Metadata:
    """Whether a record of the pair shows the function's metadata."""
    return "shown" if origin == pair.origin else "hidden"


def view(pair: Pair, metadata: Metadata) -> View:
    """The texts that a prompt of the pair was made from."""
    return pair.shown if metadata == "shown" else pair.hidden


def drawn(all_of_them: Sequence[Asked], count: int) -> list[Asked]:
    """At most `count`, each kind with its share; in the order given.

    Two records of one function stay together, so an odd `count` leaves a place empty where no function has one record only.
    A `count` of 1 draws a record.
    """
    if len(all_of_them) <= count:
        return list(all_of_them)
    functions: dict[tuple[int, str], list[int]] = {}
    for at, one in enumerate(all_of_them):
        functions.setdefault((one.entry, one.pair.origin if count > 1 else one.origin), []).append(at)
    both = [places for places in functions.values() if len(places) == 2]
    single = [places for places in functions.values() if len(places) == 1]
    nearest = (2 * count * len(both) + len(all_of_them)) // (2 * len(all_of_them))
    functions_of_both = min(nearest, count // 2)
    chosen = [
        *_every_nth(all_of_them, both, functions_of_both),
        *_every_nth(all_of_them, single, min(count - 2 * functions_of_both, len(single))),
    ]
    return [all_of_them[at] for at in sorted(chosen)]


def _every_nth(records: Sequence[Asked], functions: Sequence[list[int]], count: int) -> list[int]:
    """The places of the records of `count` functions, drawn in the order of kinds."""
    order = sorted(functions, key=lambda places: _kind(records[places[0]], alone=len(places) == 1))
    return [at for number in range(count) for at in order[(2 * number + 1) * len(order) // (2 * count)]]


def characters(true: str) -> int:
    """Of the canonical text; of the text as it is, where the grammar is not installed."""
    try:
        return len(parse(true).canonical)
    except WhetError:
        return len(true)


def length_bin(characters: int) -> int:
    """Which of the bins that LENGTHS begin; 0 for those below all of them."""
    return sum(characters >= begin for begin in LENGTHS)


def _kind(asked: Asked, *, alone: bool) -> tuple[str, str, int, str]:
    """By what functions are in order; by the metadata only where a function has no second record."""
    digest = hashlib.sha256(asked.pair.origin.encode("utf-8", "surrogatepass")).hexdigest()
    bin_ = length_bin(characters(asked.pair.source))
    return asked.metadata if alone else "", asked.pair.era, bin_, digest
