"""Token ids on disk: what was added is what is read, whatever the vocabulary and the names."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.errors import ArtefactError
from whet.tokenstore import TokenStore, TokenWriter, token_dtype


def written(folder: Path, documents: list[list[int]], vocab_size: int, about: Any = None) -> TokenStore:
    writer = TokenWriter(folder, vocab_size)
    for index, ids in enumerate(documents):
        writer.add(ids, text_bytes=3 * len(ids), about=about or {"origin": str(index)}, source=index % 3)
    assert writer.counts() == {
        "documents": len(documents),
        "tokens": sum(map(len, documents)),
        "bytes": 3 * sum(map(len, documents)),
    }
    writer.finish()
    writer.close()
    return TokenStore.open(folder, vocab_size)


@pytest.mark.parametrize(
    ("vocab_size", "name"),
    [(300, "<u2"), (65_535, "<u2"), (65_536, "<u2"), (65_537, "<u4"), (250_000, "<u4")],
)
def test_the_type_holds_every_id(tmp_path: Path, vocab_size: int, name: str) -> None:
    assert token_dtype(vocab_size) == np.dtype(name)
    assert np.iinfo(name).max >= vocab_size - 1
    store = written(tmp_path / "s", [[0, vocab_size - 1]], vocab_size)
    assert store.document(0).tolist() == [0, vocab_size - 1]
    assert (tmp_path / "s/tokens.bin").stat().st_size == 2 * np.dtype(name).itemsize


@given(
    vocab_size=st.sampled_from([500, 65_536, 65_537, 1_000_000]),
    shares=st.lists(st.lists(st.floats(0, 0.999), max_size=9), max_size=9),
    as_arrays=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_round_trip(vocab_size: int, shares: list[list[float]], as_arrays: bool) -> None:
    documents = [[int(share * vocab_size) for share in document] for document in shares]
    given_ids: Any = [np.asarray(ids, np.int32) for ids in documents] if as_arrays else documents
    with TemporaryDirectory() as folder:
        store = written(Path(folder, "s"), given_ids, vocab_size)
        assert len(store) == len(documents)
        assert [store.document(index).tolist() for index in range(len(store))] == documents
        assert store.lengths.tolist() == [len(ids) for ids in documents]
        assert store.text_bytes.tolist() == [3 * len(ids) for ids in documents]
        assert store.sources().tolist() == [index % 3 for index in range(len(documents))]
        del store


@pytest.mark.parametrize("ids", [[500], [-1], [2**40], np.asarray([70_000], np.int32)])
def test_an_id_beyond_the_vocabulary_is_never_wrapped(tmp_path: Path, ids: Any) -> None:
    writer = TokenWriter(tmp_path / "s", 500)
    with pytest.raises(AssertionError, match="beyond the vocabulary"):
        writer.add(ids, text_bytes=1, about={})
    writer.close()


ODD_NAMES = [
    "caf\udce9",
    "new\nline\r\n",
    "\u2028\u2029\x85",
    "tab\t\0",
    '"quoted\\"',
    "😀",
    "\ud800",
    "",
    " ",
]


def test_odd_names_survive(tmp_path: Path) -> None:
    writer = TokenWriter(tmp_path / "s", 500)
    for name in ODD_NAMES:
        writer.add([1], text_bytes=1, about={"origin": name, "group": name})
    writer.finish()
    writer.close()
    store = TokenStore.open(tmp_path / "s", 500)
    assert list(store.origins()) == [{"origin": name, "group": name} for name in ODD_NAMES]
    (tmp_path / "s/documents.jsonl").read_bytes().decode("utf-8")


class TestFirst:
    DOCUMENTS: ClassVar = [[1] * 10, [2] * 5, [], [3] * 20, [4]]

    @pytest.mark.parametrize(
        ("max_tokens", "count"),
        [(None, 5), (1000, 5), (36, 5), (35, 4), (34, 3), (15, 3), (14, 1), (10, 1), (3, 1), (0, 1)],
    )
    def test_whole_leading_documents(self, tmp_path: Path, max_tokens: int | None, count: int) -> None:
        whole = written(tmp_path / "s", self.DOCUMENTS, 500)
        part = whole.first(max_tokens)
        assert len(part) == len(part.text_bytes) == len(part.sources()) == count
        assert [part.document(i).tolist() for i in range(count)] == self.DOCUMENTS[:count]
        assert len(part.tokens) == part.offsets[-1]
        assert [about["origin"] for about in part.origins()] == [str(i) for i in range(count)]

    def test_of_nothing(self, tmp_path: Path) -> None:
        empty = written(tmp_path / "s", [], 500)
        assert len(empty) == len(empty.first(0)) == 0
        assert list(empty.origins()) == []


def test_another_vocabulary_or_a_cut_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "s", [[1, 2, 3, 4]], 500)
    with pytest.raises(ArtefactError, match="do not fit together"):
        TokenStore.open(tmp_path / "s", 100_000)
    (tmp_path / "s/tokens.bin").write_bytes(b"\1\0" * 3)
    with pytest.raises(ArtefactError, match="do not fit together"):
        TokenStore.open(tmp_path / "s", 500)


def test_a_folder_that_was_not_finished_cannot_be_opened(tmp_path: Path) -> None:
    writer = TokenWriter(tmp_path / "s", 500)
    writer.add([1], text_bytes=1, about={})
    writer.close()
    with pytest.raises(ArtefactError, match=r"offsets\.npy"):
        TokenStore.open(tmp_path / "s", 500)
