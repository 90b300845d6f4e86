"""What was made of a project in one build, kept in whet's cache folder: a second run reads it and compiles nothing.

A key holds the project's texts, the build, and the files of `whet.evm` itself: a whet that would make other pairs finds
nothing of another one's. One zstd file of JSON lines: the head (lost, figures), then a pair a line. A damaged file
counts as missing. Memory: one pair, and the list of what was lost. Safe to delete.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import zstandard

from whet import staging, store
from whet.evm.pairs.make import Made, make
from whet.evm.pairs.nouns import Lost, Pair, Project, from_plain
from whet.evm.pairs.pool import Pool
from whet.evm.solc.cache import cache_folder

SCHEMA = "whet.pairs/4"


@dataclass(frozen=True, slots=True)
class Kept:
    """lost, figures: as `Made` has them. `from_cache`: nothing was compiled."""

    path: Path
    lost: list[Lost]
    figures: Counter[str]
    from_cache: bool

    def pairs(self) -> Iterator[Pair]:
        """Every pair, in the order in which they were made."""
        lines = _lines(self.path)
        next(lines)
        for line in lines:
            yield from_plain(json.loads(line))


def made(project: Project, build: str, pool: Pool, solc: str = "", emitted: bool = False) -> Kept:
    """What `make` makes, from the cache if it is there; what is lost for now only is tried again next time.

    Raises WhetError, CannotWrite.
    """
    path = place(project, build, solc, emitted)
    if (kept := _read(path, from_cache=True)) is not None:
        return kept
    done = make(project, build, pool, solc, emitted)
    if any(one.for_now for one in done.lost):
        path = path.with_name(f"for-now-{path.name}")
    _write(path, done)
    kept = _read(path, from_cache=False)
    assert kept is not None
    return kept


def place(project: Project, build: str, solc: str = "", emitted: bool = False) -> Path:
    """Where it is kept, or would be."""
    digest = hashlib.sha256(f"{SCHEMA}\n{_code()}\n".encode())
    said: list[Any] = [project.name, project.lineage, project.own, project.licence, dict(project.compiled)]
    said += [build, solc, emitted]
    digest.update(json.dumps(said, sort_keys=True).encode())
    for name, text in sorted(project.texts.items()):
        digest.update(f"\n{name}\0".encode() + hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    key = digest.hexdigest()
    return cache_folder() / "pairs" / key[:2] / f"{key}.jsonl.zst"


@cache
def _code() -> str:
    """Of what decides what a pair is; once for a run, since it must not change within one."""
    return store.code_hash("evm")


def _read(path: Path, *, from_cache: bool) -> Kept | None:
    try:
        head: dict[str, Any] = json.loads(next(_lines(path)))
        last = 0
        for _ in _lines(path):  # a file that ends too early must be found out before its pairs are counted on
            last += 1
        if head["schema"] != SCHEMA or last != head["pairs"] + 1:
            return None
        lost = [Lost(**one) for one in head["lost"]]
        return Kept(path, lost, Counter(head["figures"]), from_cache)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, zstandard.ZstdError):
        return None


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        yield from io.TextIOWrapper(stream, "utf-8", newline="\n")


def _write(path: Path, done: Made) -> None:
    head = {
        "schema": SCHEMA,
        "pairs": len(done.pairs),
        "figures": dict(done.figures),
        "lost": [asdict(one) for one in done.lost],
    }
    with (
        staging.writing(path.parent),
        staging.staging(path) as work,
        (work / "pairs").open("wb") as file,
        zstandard.ZstdCompressor(level=6).stream_writer(file) as stream,
    ):
        for values in (head, *(pair.plain() for pair in done.pairs)):
            stream.write(json.dumps(values, separators=(",", ":")).encode() + b"\n")
        stream.flush(zstandard.FLUSH_FRAME)
        (work / "pairs").replace(path)
