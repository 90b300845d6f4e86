"""What a tokenizer from elsewhere may ask for: ids within a bound, rules that do not blow texts up, errors that are ours.

The library reads JSON and runs no code of a tokenizer's. What is left to a hostile one is work and memory:
an id of four billion, chains of replacements that double a text each time, a pattern that never ends (the
library gives up on it after a tenth of a second, by a panic of its own).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from whet import limits
from whet.errors import ArtefactError, DataError

if TYPE_CHECKING:
    import tokenizers


@contextmanager
def data_errors(where: str) -> Iterator[None]:
    """Refused files, and the library's panics (which are not even an `Exception`), as a DataError."""
    try:
        yield
    except ArtefactError as error:
        raise DataError(error.what, where=error.where, fix=error.fix) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise DataError(f"the tokenizer cannot do its work: {str(error)[:200]}", where=where) from None


def require_bounded(backend: tokenizers.Tokenizer, where: str) -> None:
    """Raise DataError if an id is too large, or if rules could make a text too much longer."""
    largest = max(backend.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= limits.TOKENIZER_IDS:
        raise DataError(f"has the id {largest:,}; the most is {limits.TOKENIZER_IDS - 1:,}", where=where)
    for part in (backend.normalizer, backend.pre_tokenizer, backend.decoder):
        growth = _growth(json.loads(part.__getstate__())) if part is not None else 1
        if growth > limits.TOKENIZER_GROWTH:
            raise DataError("has replacement rules that could make a text too long", where=where)


def _growth(rule: Any) -> int:
    """How many times longer the replacements of a rule, and of the rules within it, could make a text at most."""
    if isinstance(rule, list):
        growth = 1
        for inner in rule:
            growth = min(growth * _growth(inner), limits.TOKENIZER_GROWTH + 1)
        return growth
    if not isinstance(rule, dict):
        return 1
    added = next((len(rule[key]) for key in ("content", "prepend") if isinstance(rule.get(key), str)), 0)
    within = _growth([inner for inner in rule.values() if isinstance(inner, list | dict)])
    return min((1 + added) * within, limits.TOKENIZER_GROWTH + 1)
