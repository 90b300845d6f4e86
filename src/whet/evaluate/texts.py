"""Texts as the evaluate room reads them: a token store in memory, from strings, a file or a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from whet.errors import DataError
from whet.recipe.python import TextSource
from whet.records import Dropped
from whet.sources.base import Source
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore, token_dtype

Texts = Iterable[str] | Path | Source
"""Strings, each a document; or the path of a file, a folder or a glob; or a source of documents."""


def stored(texts: Texts, tokenizer: Tokenizer, notice: Callable[[str], None]) -> TokenStore:
    """Each text as the ids that it would have in training. What a file or source drops is counted and said.

    Raises DataError if there is no text, or what there is is no text; RecipeError for a path at which there is nothing.
    """
    documents = list(_documents(texts, notice))
    if not documents:
        raise DataError("no text to measure", where="texts")
    sizes = [_size_bytes(text, number) for number, text in enumerate(documents)]
    ids = tokenizer.encode_documents(documents)
    tokens = np.concatenate([np.asarray(one, token_dtype(tokenizer.vocab_size)) for one in ids])
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    return TokenStore(tokens, offsets, np.asarray(sizes, np.int64), Path())


def _documents(texts: Texts, notice: Callable[[str], None]) -> Iterator[str]:
    if isinstance(texts, str):
        raise DataError(
            "one string is not several texts", where="texts", fix="give a list; a file's name as a Path"
        )
    if isinstance(texts, Path):
        texts = TextSource(path=str(texts))
    if not isinstance(texts, Source):
        if not isinstance(texts, Iterable):
            raise DataError(
                f"no texts, but {type(texts).__name__}", where="texts", fix="give strings, or one Path"
            )
        yield from texts
        return
    if texts.YIELDS != "documents":
        raise DataError(f"a source of {texts.YIELDS}, not of texts", where="texts")
    dropped: Counter[str] = Counter()
    for entry in texts.documents():
        if isinstance(entry, Dropped):
            dropped[entry.reason] += 1
        else:
            yield entry.text
    for reason, count in dropped.most_common():
        notice(f"{count} {texts.UNITS} left out: {reason}")


def _size_bytes(text: str, number: int) -> int:
    if not isinstance(text, str):
        raise DataError(
            f"not text, but {type(text).__name__}", where=f"text {number}", fix="give strings, or one Path"
        )
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise DataError(f"not valid Unicode: {error}", where=f"text {number}") from error
