"""Equal texts and edited copies are found, at the similarity asked for; short texts only if equal."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from whet.prepare import signatures
from whet.prepare.duplicates import (
    FOUND_SHARE,
    MIN_SHINGLES,
    DuplicateIndex,
    Twin,
    band_length,
)
from whet.prepare.signatures import ENTRIES, SHINGLE_WORDS, band_keys, shingle_hashes, signature
from whet.records import Document


def words(seed: int, count: int = 600) -> list[str]:
    draw = random.Random(seed)
    return [f"w{draw.randrange(10**9)}" for _ in range(count)]


def edited(original: list[str], similarity: float) -> list[str]:
    """A copy with that Jaccard similarity of five-word shingles: single words replaced, far apart."""
    shingles = len(original) - SHINGLE_WORDS + 1
    edits = round(shingles * (1 - similarity) / (1 + similarity) / SHINGLE_WORDS)
    changed = list(original)
    for at in np.linspace(SHINGLE_WORDS, len(original) - SHINGLE_WORDS - 1, edits).astype(int):
        changed[at] = f"edit{at}"
    return changed


def jaccard(one: list[str], other: list[str]) -> float:
    a, b = set(shingle_hashes(" ".join(one)).tolist()), set(shingle_hashes(" ".join(other)).tolist())
    return len(a & b) / len(a | b)


def document(text: str, name: str = "d") -> Document:
    return Document(text=text, origin=name, group=f"group of {name}")


def index(folder: Path, similarity: float | None = 0.8) -> DuplicateIndex:
    return DuplicateIndex(folder / "index.sqlite", similarity)


def remember(found: DuplicateIndex, text: str, name: str, stage: str = "s") -> list[Twin]:
    twins, signature = found.twins(document(text, name), stage)
    found.add(document(text, name), stage, signature)
    return twins


def test_equal_texts(tmp_path: Path) -> None:
    found = index(tmp_path)
    assert remember(found, "short", "a") == []
    assert remember(found, "short", "b") == [Twin("a", "group of a", "s", 1.0, True)]
    assert remember(found, "short ", "c") == []
    long = " ".join(words(1))
    remember(found, long, "d")
    for name in ("e", "f", "g"):
        assert remember(found, long, name) == [Twin("d", "group of d", "s", 1.0, True)]
    found.close()


def test_the_same_words_with_other_spacing_are_near_and_not_equal(tmp_path: Path) -> None:
    found = index(tmp_path)
    remember(found, " ".join(words(1)), "a")
    assert remember(found, "\n".join(words(1)), "b") == [Twin("a", "group of a", "s", 1.0, False)]
    found.close()


def test_without_a_similarity_only_equal_texts_count(tmp_path: Path) -> None:
    found = index(tmp_path, None)
    remember(found, " ".join(words(1)), "a")
    assert remember(found, "\n".join(words(1)), "b") == []
    assert len(remember(found, "\n".join(words(1)), "c")) == 1
    found.close()


@pytest.mark.parametrize(
    ("threshold", "similarity", "share"),
    [
        (0.8, 0.95, (1.0, 1.0)),
        (0.8, 0.9, (0.97, 1.0)),
        (0.8, 0.65, (0.0, 0.03)),
        (0.8, 0.3, (0.0, 0.0)),
        (0.5, 0.65, (0.97, 1.0)),
        (0.5, 0.35, (0.0, 0.03)),
        (0.3, 0.45, (0.97, 1.0)),
        (0.95, 0.85, (0.0, 0.03)),
    ],
)
def test_edited_copies(
    tmp_path: Path, threshold: float, similarity: float, share: tuple[float, float]
) -> None:
    found, pairs = index(tmp_path, threshold), 60
    near = 0
    for seed in range(pairs):
        original = words(seed)
        copy = edited(original, similarity)
        assert jaccard(original, copy) == pytest.approx(similarity, abs=0.02)
        assert remember(found, " ".join(original), str(seed)) == []
        twins = remember(found, " ".join(copy), f"{seed} edited")
        near += [twin.origin for twin in twins] == [str(seed)]
        assert all(twin.similarity >= threshold and not twin.exact for twin in twins)
    assert share[0] <= near / pairs <= share[1]
    found.close()


def test_short_documents_are_only_compared_exactly(tmp_path: Path) -> None:
    found = index(tmp_path, 0.3)
    few = words(1, MIN_SHINGLES + SHINGLE_WORDS - 2)
    assert len(shingle_hashes(" ".join(few))) == MIN_SHINGLES - 1
    remember(found, " ".join(few), "a")
    assert remember(found, "\n".join(few), "b") == []
    enough = words(2, MIN_SHINGLES + SHINGLE_WORDS - 1)
    remember(found, " ".join(enough), "c")
    assert [twin.origin for twin in remember(found, "\n".join(enough), "d")] == ["c"]
    assert remember(found, "", "e") == remember(found, " ", "f") == []
    found.close()


def test_twins_name_their_stage(tmp_path: Path) -> None:
    found = index(tmp_path)
    text = " ".join(words(1))
    remember(found, text, "a", "first")
    remember(found, text, "b", "second")
    remember(found, text + " more", "c", "second")
    twins, _ = found.twins(document(text), "third")
    assert [(twin.origin, twin.stage, twin.exact) for twin in twins] == [
        ("a", "first", True),
        ("b", "second", True),
        ("c", "second", False),
    ]
    found.close()


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    found = index(tmp_path)
    remember(found, "text", "caf\udce9")
    assert [twin.origin for twin in remember(found, "text", "b")] == ["caf\udce9"]
    found.close()


def test_the_same_input_gives_the_same_twins(tmp_path: Path) -> None:
    def once(folder: Path) -> list[list[Twin]]:
        folder.mkdir()
        found = index(folder, 0.6)
        texts = [" ".join(edited(words(seed % 7), 1 - seed / 100)) for seed in range(60)]
        twins = [remember(found, text, str(number)) for number, text in enumerate(texts)]
        found.close()
        return twins

    assert once(tmp_path / "a") == once(tmp_path / "b")


def test_shingles_are_the_same_on_every_machine() -> None:
    hashes = shingle_hashes("def f(x):\n    return x + 1  # é 😀")
    assert hashes.tolist()[:3] == GOLDEN
    assert len(hashes) == 9
    assert shingle_hashes("a b c d").tolist() == []


GOLDEN = [191881214057752622, 3932520849844373524, 4596503563009533725]


def test_shingles_are_those_of_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a set of tuples says, whatever the text and wherever it is cut into blocks."""
    draw = random.Random(5)
    alphabet = ["a", "b", "é", "中", "😀", "_", "1", " ", "\n", "\u2003", ".", "(", "\0", "\ud800"]
    for block in (2**15, 7, 1):
        monkeypatch.setattr(signatures, "BLOCK_CHARACTERS", block)
        signatures._powers.cache_clear()
        for length in range(60):
            text = "".join(draw.choices(alphabet, k=length))
            found = re.findall(r"\w+|[^\w\s]", text)
            if block > 1 and any(len(word) > block for word in found):
                continue
            runs = {tuple(found[at : at + SHINGLE_WORDS]) for at in range(len(found) - SHINGLE_WORDS + 1)}
            if block > 7 or all(len(word) == 1 for word in found):
                assert len(shingle_hashes(text)) == len(runs)
    signatures._powers.cache_clear()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(words(1)) + "\n(" + "x.y, " * 50
    whole = shingle_hashes(text).tolist()
    monkeypatch.setattr(signatures, "BLOCK_CHARACTERS", 64)
    signatures._powers.cache_clear()
    assert shingle_hashes(text).tolist() == whole
    signatures._powers.cache_clear()


def test_a_long_document_is_hashed_in_blocks(tmp_path: Path) -> None:
    """In one go its 400,000 characters would take some 20 MB."""
    import tracemalloc

    found = index(tmp_path)
    remember(found, " ".join(words(4)), "tables are made once")
    text = " ".join(words(3, 40_000))
    tracemalloc.start()
    remember(found, text, "long")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6
    assert len(remember(found, text.replace(" ", "\n"), "again")) == 1
    found.close()


def sets(draw: np.random.Generator, size: int, similarity: float) -> list[np.ndarray]:
    """Two sets of hashes with that Jaccard similarity, `size` in their union."""
    shared = round(size * similarity)
    half = shared + (size - shared) // 2
    hashes = draw.integers(0, 2**64, size, dtype=np.uint64)
    return [np.unique(hashes[:half]), np.unique(np.concatenate([hashes[:shared], hashes[half:]]))]


@pytest.mark.parametrize("size", [10, 40, 150, 1000])
@pytest.mark.parametrize("similarity", [0.8, 0.5, 0.3])
def test_the_share_of_equal_entries_estimates_jaccard(size: int, similarity: float) -> None:
    """Without bias, nearly as sharply as 128 permutations; and bands find the share they promise."""
    draw, pairs = np.random.default_rng(size), 800
    length = band_length(similarity)
    shares, met = [], 0
    for _ in range(pairs):
        one, other = (signature(hashes) for hashes in sets(draw, size, similarity))
        shares.append(float(np.mean(one == other)))
        met += bool(set(band_keys(one, length)) & set(band_keys(other, length)))
    deviation = float(np.std(shares))
    assert abs(np.mean(shares) - similarity) < 4 * deviation / pairs**0.5
    assert deviation < 1.3 * (similarity * (1 - similarity) / ENTRIES) ** 0.5
    assert met / pairs > FOUND_SHARE - 4 * (FOUND_SHARE * (1 - FOUND_SHARE) / pairs) ** 0.5


@pytest.mark.parametrize(("similarity", "length"), [(0.3, 2), (0.5, 3), (0.6, 4), (0.8, 8), (1.0, 8)])
def test_bands_are_as_long_as_the_threshold_allows(similarity: float, length: int) -> None:
    assert band_length(similarity) == length
