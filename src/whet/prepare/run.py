"""The prepare room: recipe in, one folder `prepared/` out, with tokenizer, tokens and a manifest.

    sources -> clean -> drop duplicates -> [spool] -> split by groups -> tokenizer -> token stores

Everything streams: one document is in memory at a time (a few hundred while encoding). The spool is a
compressed file per stage that lives only while the room runs. Every record is kept or dropped by name;
the manifest counts both.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from whet import store
from whet.cleaning.base import FILTERS, Filter, clean
from whet.errors import DataError
from whet.prepare import leakage, split
from whet.prepare.duplicates import DuplicateIndex, Twin
from whet.progress import Reporter, duration
from whet.recipe.schema import Prepare, Recipe, Stage
from whet.records import Document, Dropped, Tally
from whet.text import tokenizer as tokenizers
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore, TokenWriter

KIND = "prepared"
ENCODE_BYTES = 4 * 2**20
ENCODE_DOCUMENTS = 256


@dataclass(slots=True)
class StageSpool:
    """One stage's cleaned documents on disk, and what is known of them."""

    stage: Stage
    path: Path
    tally: Tally = field(default_factory=Tally)
    groups: set[str] = field(default_factory=set)
    text_bytes: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


def run(recipe: Recipe, folder: Path, reporter: Reporter, *, force: bool = False) -> store.Artefact:
    """Prepare all stages of `recipe` into `folder/prepared`, unless that is already there and unchanged."""
    key = prepared_key(recipe)
    target = folder / KIND
    done = None if force else store.fresh(target, KIND, key)
    if done:
        reporter.say(f"prepare: unchanged, {target} is used as it is")
        return done
    began = time.monotonic()
    record: dict[str, Any] = {}
    with store.staged(target, kind=KIND, key=key, record=record) as work:
        spool = work / "spool"
        spool.mkdir()
        stages = _gather(recipe, spool, reporter)
        sides, notices = split.assign(
            {item.stage.name: item.groups for item in stages if item.groups}, recipe.seed, recipe.prepare.validation_share, recipe.prepare.test_share
        )
        tokenizer = _tokenizer(recipe, stages, sides, reporter)
        tokenizers.save(tokenizer, work / "tokenizer", context=recipe.model.context)
        for item in stages:
            _encode(item, sides, tokenizer, work / item.stage.name, reporter)
        record.update(_record(recipe, stages, tokenizer, work))
        record["notices"] = [*notices, *tokenizer.notes, *_leaks(record)]
        record["seconds"] = round(time.monotonic() - began, 2)
        _remove(spool)
    for notice in record["notices"]:
        reporter.notice(notice)
    reporter.say(f"prepare: done in {duration(record['seconds'])}, in {target}")
    return store.open_artefact(target, KIND, verify=False)


def prepared_key(recipe: Recipe) -> str:
    """The hash of everything the prepared folder is made from."""
    return store.content_hash(
        {
            "prepare": recipe.prepare.model_dump(),
            "tokenizer": recipe.tokenizer.model_dump(),
            "tokenizer_files": tokenizers.fingerprint(Path(recipe.tokenizer.path)) if recipe.tokenizer.path else None,
            "context": recipe.model.context,
            "seed": recipe.seed,
            "data": {stage.name: [[source.model_dump(), source.fingerprint()] for source in stage.data] for stage in recipe.stages},
            "code": store.code_hash("prepare", "sources", "cleaning", "text", "tokenstore", "records"),
            "libraries": store.versions("tokenizers", "datasketch", "numpy"),
        }
    )


def _gather(recipe: Recipe, spool: Path, reporter: Reporter) -> list[StageSpool]:
    """Read, clean and deduplicate every stage's documents into its spool file."""
    filters = chosen_filters(recipe.prepare)
    index = DuplicateIndex(spool / "duplicates.sqlite", recipe.prepare.near_duplicate_similarity)
    stages = []
    for stage in recipe.stages:
        item = StageSpool(stage, spool / f"{len(stages)}.jsonl.zst")
        if not stage.data[0].PRETOKENIZED:
            stream = clean(chain.from_iterable(source.documents() for source in stage.data), filters)
            with reporter.task(f"read {stage.name}") as task, _zst_writer(item.path) as file:
                for document, twins in _distinct(stream, index, item, recipe.prepare):
                    elsewhere = sorted({twin.group for twin in twins if twin.group != document.group})
                    file.write(json.dumps([asdict(document), elsewhere]) + "\n")
                    item.groups.add(document.group)
                    item.text_bytes += document.size_bytes
                    task.advance()
            if not item.groups:
                raise DataError(_nothing_left(item), where=f"stages.{stage.name}.data", fix="look at the reasons; loosen prepare.cleaning or change the data")
        stages.append(item)
    index.close()
    return stages


def chosen_filters(settings: Prepare) -> list[Filter]:
    """The filters that run, with the recipe's settings."""
    chosen = []
    for kind in FILTERS:
        given = settings.cleaning.get(kind.NAME, {})
        if given is not False:
            chosen.append(kind.model_validate(given))
    return chosen


def _distinct(
    stream: Iterator[Document | Dropped], index: DuplicateIndex, item: StageSpool, settings: Prepare
) -> Iterator[tuple[Document, list[Twin]]]:
    """Documents that are new to their stage, with their twins in other stages; the others are counted."""
    for entry in stream:
        if isinstance(entry, Dropped):
            item.tally.drop(entry)
            continue
        twins, signature = index.twins(entry, item.stage.name)
        here = [twin for twin in twins if twin.stage == item.stage.name]
        exact = next((twin for twin in here if twin.similarity == 1.0), None) if settings.exact_duplicates == "drop" else None
        near = next((twin for twin in here if twin.similarity < 1.0), None)
        twin = exact or near
        if twin:
            reason = "exact duplicate" if exact else "near duplicate"
            detail = f"of {twin.origin}" if exact else f"{twin.similarity:.2f} of {twin.origin}"
            item.tally.drop(Dropped(origin=entry.origin, reason=reason, detail=detail, size_bytes=entry.size_bytes))
            continue
        index.add(entry, item.stage.name, signature)
        yield entry, twins


def _spooled(item: StageSpool) -> Iterator[tuple[Document, list[str]]]:
    import zstandard

    if not item.path.exists():
        return
    with item.path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        for line in io.TextIOWrapper(stream, "utf-8"):
            values, elsewhere = json.loads(line)
            yield Document(**{**values, "changes": tuple(values["changes"])}), elsewhere


def _zst_writer(path: Path) -> io.TextIOWrapper:
    import zstandard

    return io.TextIOWrapper(zstandard.ZstdCompressor(level=1).stream_writer(path.open("wb")), "utf-8")


def _tokenizer(recipe: Recipe, stages: list[StageSpool], sides: dict[str, split.Side], reporter: Reporter) -> Tokenizer:
    if recipe.tokenizer.path:
        return tokenizers.load(Path(recipe.tokenizer.path))
    reporter.say(f"tokenizer: learning {recipe.tokenizer.vocab_size:,} tokens from the training documents")
    training = (
        (document.text, document.size_bytes) for item in stages for document, _ in _spooled(item) if sides[document.group] == "train"
    )
    total = sum(item.text_bytes for item in stages)
    texts = tokenizers.sampled(training, total, recipe.tokenizer.sample_bytes)
    return tokenizers.train(texts, vocab_size=recipe.tokenizer.vocab_size, special_tokens=recipe.tokenizer.special_tokens)


def _encode(item: StageSpool, sides: dict[str, split.Side], tokenizer: Tokenizer, folder: Path, reporter: Reporter) -> None:
    """Write the stage's three token stores."""
    writers = {name: TokenWriter(folder / name, tokenizer.vocab_size) for name in split.SIDES}
    try:
        if item.stage.data[0].PRETOKENIZED:
            _copy_arrays(item, writers, tokenizer)
        with reporter.task(f"encode {item.stage.name}", item.text_bytes / 1e6 or None) as task:
            for batch in _batches(_sided(item, sides)):
                for document, ids in zip(batch, tokenizer.encode_documents([d.text for d in batch]), strict=True):
                    about = {"origin": document.origin, "group": document.group, "language": document.language, "licence": document.licence}
                    writers[sides[document.group]].add(ids, text_bytes=document.size_bytes, about=about)
                    item.tally.keep(document)
                    task.advance(document.size_bytes / 1e6)
        for writer in writers.values():
            writer.finish()
        item.counts = {name: writer.counts() for name, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.close()
    if not item.counts["train"]["documents"]:
        raise DataError("no document is left for training", where=f"stages.{item.stage.name}.data", fix="lower prepare.validation_share and test_share, or add data")


def _sided(item: StageSpool, sides: dict[str, split.Side]) -> Iterator[Document]:
    """Documents whose twins in other stages are on the same side; the others are dropped and counted."""
    for document, elsewhere in _spooled(item):
        across = next((group for group in elsewhere if group in sides and sides[group] != sides[document.group]), None)
        if across is None:
            yield document
        else:
            reason = Dropped(
                origin=document.origin, reason="near duplicate across the split", detail=f"of {across}", size_bytes=document.size_bytes
            )
            item.tally.drop(reason)


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += document.size_bytes
        if size >= ENCODE_BYTES or len(batch) >= ENCODE_DOCUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _copy_arrays(item: StageSpool, writers: dict[str, TokenWriter], tokenizer: Tokenizer) -> None:
    """Ready-made rows: each is one document, its text bytes are those its tokens stand for."""
    token_bytes = np.asarray(tokenizer.token_bytes(), np.int64)
    for source in item.stage.data:
        for name, rows in source.arrays():  # type: ignore[attr-defined]
            for index, row in enumerate(rows):
                if int(row.max(initial=0)) >= tokenizer.vocab_size:
                    raise DataError(
                        f"row {index} of the {name} array holds id {int(row.max())}, the tokenizer has {tokenizer.vocab_size} ids",
                        where=f"stages.{item.stage.name}.data",
                    )
                origin, size = f"{name}:{index}", int(token_bytes[row].sum())
                writers[name].add(row, text_bytes=size, about={"origin": origin, "group": origin, "language": "", "licence": ""})
                item.tally.keep_counted(size)


def _record(recipe: Recipe, stages: list[StageSpool], tokenizer: Tokenizer, work: Path) -> dict[str, Any]:
    described = []
    for item in stages:
        opened = {name: TokenStore.open(work / item.stage.name / name, tokenizer.vocab_size) for name in split.SIDES}
        described.append(
            {
                "name": item.stage.name,
                "sources": [source.NAME for source in item.stage.data],
                "tally": item.tally.as_dict(),
                "splits": item.counts,
                "shared_13_token_runs": {name: leakage.shared_share(opened["train"], opened[name]) for name in ("validation", "test")},
            }
        )
    return {
        "stages": described,
        "tokenizer": {
            "vocab_size": tokenizer.vocab_size,
            "kind": "existing" if recipe.tokenizer.path else "byte-level BPE trained on the training documents",
            "special_tokens": list(tokenizer.special_tokens.values()),
            "special_ids": tokenizer.special_ids,
        },
        "seed": recipe.seed,
    }


def _leaks(record: dict[str, Any]) -> list[str]:
    return [
        f"stage {stage['name']}: {share:.1%} of the {name} split's 13-token runs also stand in its training text; the held-out figures may flatter"
        for stage in record["stages"]
        for name, share in stage["shared_13_token_runs"].items()
        if share is not None and share > LEAK_SHARE
    ]


LEAK_SHARE = 0.05
"""Above this the report warns of leakage."""


def _nothing_left(item: StageSpool) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in item.tally.dropped.most_common(5))
    return f"no document is left after cleaning ({reasons or 'the sources yielded none'})"


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)
