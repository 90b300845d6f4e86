"""Thousands of damaged safetensors files: each is refused by a WhetError, or read as the format's own library reads it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as reference
from safetensors.torch import save

from tests.attack.folders import WEIGHTS, joined, split
from whet.errors import ArtefactError
from whet.models.weights_file import WEIGHTS as DTYPES
from whet.models.weights_file import WeightsFile

WORDS = [b"F32", b"BF16", b"I64", b"data_offsets", b"shape", b"__metadata__", b"[", b"]", b"{", b"}", b",", b":",
         b"-1", b"0", b"1e9", b"9" * 30, b'"', b"\\u0000", b"\xff", b"NaN", b"null", b"true", b"[[", b"a.b"]  # fmt: skip


def original() -> bytes:
    draw = torch.Generator().manual_seed(1)
    found = {name: torch.randn(shape, generator=draw) for name, shape in
             {"a.weight": (3, 4), "a.bias": (4,), "empty": (0, 2), "one": ()}.items()}  # fmt: skip
    found["half"] = torch.randn(5, 2, generator=draw).to(torch.bfloat16)
    return save(found, metadata={"format": "pt"})


def mutated(raw: bytes, seed: int) -> bytes:
    """One of: bytes flipped in the header, a word put into it, a value of it changed, the length, a cut."""
    draw = random.Random(seed)
    entries, data = split(raw)
    text = bytearray(json.dumps(entries).encode())
    kind = draw.randrange(6)
    if kind == 0:
        for _ in range(draw.randint(1, 3)):
            text[draw.randrange(len(text))] = draw.randrange(256)
    elif kind == 1:
        at = draw.randrange(len(text))
        text[at : at + draw.randrange(4)] = draw.choice(WORDS)
    elif kind == 2:
        entry = entries[draw.choice([name for name in entries if name != "__metadata__"])]
        key = draw.choice(["shape", "data_offsets"])
        entry[key] = [
            draw.choice([value, value + draw.randint(-8, 8), -value, 2**63, 0, 1]) for value in entry[key]
        ]
        text = bytearray(json.dumps(entries).encode())
    elif kind == 3:
        length = draw.choice([0, 1, len(text) + draw.randint(-9, 9), 2 ** draw.randrange(64)])
        return length.to_bytes(8, "little") + bytes(text) + data
    elif kind == 4:
        whole = joined(bytes(text), data)
        return whole[: draw.randrange(len(whole))]
    else:
        name = draw.choice(list(entries))
        other = draw.choice([draw.choice(list(entries.values())), [], 1, "x", None, {}])
        text = bytearray(json.dumps({**entries, name: other}).encode())
    return joined(bytes(text), data)


def read(folder: Path, raw: bytes) -> dict[str, torch.Tensor] | None:
    """All tensors of weights that are in the file, or None where it is refused."""
    (folder / WEIGHTS).write_bytes(raw)
    try:
        with WeightsFile(folder, WEIGHTS) as file:
            return {
                name: file.tensor(name) for name, stored in file.tensors.items() if stored.dtype in DTYPES
            }
    except ArtefactError:
        return None


def _check(folder: Path, seeds: range) -> tuple[int, int]:
    raw, accepted = original(), 0
    for seed in seeds:
        changed = mutated(raw, seed)
        found = read(folder, changed)
        if found is None:
            continue
        accepted += 1
        expected = reference(changed)  # fails the test where the library refuses what we took
        assert all(torch.equal(found[name].nan_to_num(), expected[name].nan_to_num()) for name in found), seed
        assert found.keys() == {
            name
            for name, value in expected.items()
            if value.is_floating_point() and value.dtype != torch.float64
        }, seed
    return accepted, len(seeds) - accepted


def test_the_file_itself_is_read(tmp_path: Path) -> None:
    raw = original()
    found, expected = read(tmp_path, raw), reference(raw)
    assert found is not None
    assert found.keys() == expected.keys()
    assert all(
        torch.equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype
        for name in found
    )


def test_500_damaged_files(tmp_path: Path) -> None:
    accepted, refused = _check(tmp_path, range(500))
    assert accepted > 10
    assert refused > 300


@pytest.mark.slow
def test_10_000_damaged_files(tmp_path: Path) -> None:
    accepted, refused = _check(tmp_path, range(500, 10_500))
    assert accepted > 200
    assert refused > 6_000
