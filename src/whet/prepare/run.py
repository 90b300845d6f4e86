"""The prepare room: recipe in, one folder `prepared/` out, with tokenizer, tokens and a manifest.

    sources -> clean -> drop duplicates -> [spool] -> split by groups -> tokenizer -> token stores

Everything streams: one document is in memory at a time, about a megabyte of them while encoding, and some 40
bytes for each document of the corpus. The spool is a compressed file per stage that lives only while the room runs. Every
record is kept or dropped by name; the manifest counts both.
"""

from __future__ import annotations

import inspect
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whet import store
from whet.cleaning._conversations import clean_conversations
from whet.cleaning.base import FILTERS, Filter, clean
from whet.errors import DataError
from whet.models import hub
from whet.prepare import compared, leakage, split
from whet.prepare.duplicates import DuplicateIndex, Twin
from whet.prepare.groups import few_groups, held_out
from whet.prepare.notices import notices_of
from whet.prepare.split import Sides
from whet.prepare.spool import NEAR, StageSpool
from whet.progress import Reporter, duration, shown_on
from whet.recipe.schema import Model, Prepare, Recipe
from whet.records import Document, Dropped
from whet.sources.base import Source
from whet.text import tokenizer as tokenizers
from whet.text.chat import Chat, Encoded, Findings
from whet.text.chat import save as save_chat
from whet.text.chat import template as chat_template
from whet.text.chat.chat import LossOn
from whet.text.chat.written import kept_tokens
from whet.text.conversation import from_text
from whet.text.encoder import Encoder
from whet.text.refused import Refused
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore, TokenWriter
from whet.visible import visible

KIND = "prepared"
ENCODE_BYTES = 2**20
ENCODE_DOCUMENTS = 256


SPOOL = ".spool"
"""Begins with a dot, as no stage's name can."""

Writers = dict[str, TokenWriter]


def run(recipe: Recipe, folder: Path, reporter: Reporter, *, force: bool = False) -> store.Artefact:
    """Prepare all stages of `recipe` into `folder/prepared`, unless that is already there and unchanged."""
    key = prepared_key(recipe)
    target = folder / KIND
    done = None if force else store.fresh(target, KIND, key, reporter.notice)
    if done:
        reporter.say(f"prepare: unchanged, {target} is used as it is")
        return done
    began = time.monotonic()
    record: dict[str, Any] = {}
    with store.staged(target, kind=KIND, key=key, record=record) as work:
        record.update(_fill(recipe, work, reporter), seconds=round(time.monotonic() - began, 2))
    for notice in record["notices"]:
        reporter.notice(notice)
    reporter.say(f"prepare: done in {duration(record['seconds'])}, in {target}")
    return store.open_artefact(target, KIND, verify=False)


def _fill(recipe: Recipe, work: Path, reporter: Reporter) -> dict[str, Any]:
    """Write tokenizer and token stores of all stages into `work`; what the manifest says about them."""
    spool = work / SPOOL
    spool.mkdir()
    stages = _gather(recipe, spool, reporter)
    sides, notices = _split(recipe, stages)
    tokenizer = _tokenizer(recipe, stages, sides, work / "tokenizer", reporter)
    encoder = Encoder(tokenizer)
    for item in stages:
        if item.stage.chats:
            notices += _encode_chats(recipe, item, sides, tokenizer, work, reporter)
        else:
            _encode(item, sides, encoder, work / item.stage.name, reporter)
    for reason, count in encoder.slower.items():
        reporter.say(f"encode: {count:,} documents the slower way, without tiktoken: {reason}")
    record = _record(recipe, stages, tokenizer, work)
    for text in held_out(record["stages"]):
        reporter.say(text)
    shutil.rmtree(spool)
    notices += [*tokenizer.notes, *notices_of(record, recipe, stages, sides)]
    return {**record, "notices": list(dict.fromkeys(notices))}


def prepared_key(recipe: Recipe) -> str:
    """The hash of everything the prepared folder is made from."""
    existing = _existing_tokenizer(recipe)
    data = [[stage.name, [_traits(source) for source in stage.data]] for stage in recipe.stages]
    return store.content_hash(
        {
            "prepare": recipe.prepare.model_dump(mode="json"),
            "tokenizer": recipe.tokenizer.model_dump(mode="json") if recipe.tokenizer else None,
            "tokenizer_files": tokenizers.fingerprint(existing) if existing else None,
            "new_tokens": recipe.tuned.new_tokens if recipe.tuned else [],
            "chats": _chat_settings(recipe, existing),
            "context": recipe.model.context if isinstance(recipe.model, Model) else None,
            "seed": recipe.seed,
            "data": data,
            "plugins": _plugins(recipe),
            "code": store.code_hash("prepare", "sources", "cleaning", "text", "tokenstore", "records"),
            "libraries": store.versions("tokenizers", "numpy"),
        }
    )


def _chat_settings(recipe: Recipe, existing: Path | None) -> list[Any]:
    """What decides how conversations are written and what of them is learned; nothing without any."""
    chats = [[stage.name, stage.loss_on] for stage in recipe.stages if stage.chats]
    if not chats:
        return []
    own = chat_template.own(existing) if existing else None
    libraries = store.versions("jinja2")
    sandbox = store.code_hash("sandbox")
    new = _new_tokens(recipe, existing)
    return [recipe.chat_template, own.sha256 if own else None, libraries, sandbox, new, *chats]


def _new_tokens(recipe: Recipe, existing: Path | None) -> list[str]:
    """What users cannot write: the recipe's new tokens, and those with which whet tuned the base before."""
    return [*(kept_tokens(existing) if existing else ()), *(recipe.tuned.new_tokens if recipe.tuned else ())]


def _existing_tokenizer(recipe: Recipe) -> Path | None:
    """Where the tokenizer lies that is taken as it is: the one named, or the base's. Raises ArtefactError as `hub.find`."""
    if recipe.tokenizer and recipe.tokenizer.path:
        return Path(recipe.tokenizer.path)
    return hub.of(recipe.tuned, weights=False) if recipe.tuned else None


def _traits(source: Source) -> list[Any]:
    """What decides a source's documents: its settings but the weight, which only decides how often they are seen."""
    unweighted = source.model_copy(update={"weight": None})
    return [unweighted.model_dump(mode="json", exclude={"weight"}), unweighted.fingerprint()]


def _plugins(recipe: Recipe) -> dict[str, str]:
    """Hashes of the files of sources and filters that other packages registered."""
    kinds = [type(source) for stage in recipe.stages for source in stage.data] + list(FILTERS)
    files = {
        kind.__module__: inspect.getsourcefile(kind)
        for kind in kinds
        if not kind.__module__.startswith("whet.")
    }
    return {module: store.file_hash(Path(file)) for module, file in files.items() if file}


def _gather(recipe: Recipe, spool: Path, reporter: Reporter) -> list[StageSpool]:
    """Read, clean and deduplicate every stage's documents into its spool file."""
    stages = [
        StageSpool(stage, spool / f"{at}.jsonl.zst", recipe.seed) for at, stage in enumerate(recipe.stages)
    ]
    with closing(DuplicateIndex(spool / "seen.sqlite", recipe.prepare.near_duplicate_similarity)) as index:
        for item in stages:
            if item.stage.data[0].YIELDS != "arrays":
                _read(item, index, recipe.prepare, reporter)
    return stages


def _read(item: StageSpool, index: DuplicateIndex, settings: Prepare, reporter: Reporter) -> None:
    stream = _cleaned(item, chosen_filters(settings))
    with reporter.task(f"read {item.stage.name}") as task, shown_on(task), item.writer() as spool:
        for document, twins in _distinct(stream, index, item, settings):
            spool.add(document, sorted({twin.group for twin in twins if twin.group != document.group}))
            task.advance()
    if not len(item):
        dropped = item.tally.dropped.most_common(5)
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped) or "the sources yielded none"
        first = "".join(f"; first {item.tally.examples[reason][0]}" for reason, _ in dropped[:1])
        raise DataError(
            f"no document is left after cleaning ({reasons}{first})",
            where=f"stages.{item.stage.name}.data",
            fix="mend the first reason (a package of npm is fetched once, with a network), loosen prepare.cleaning, or cut large "
            "text files with piece_bytes",
        )


def _cleaned(item: StageSpool, filters: list[Filter]) -> Iterator[Document | Dropped]:
    """The stage's sources one after another; each document knows the number of its source."""
    through = clean_conversations if item.stage.chats else clean
    for number, source in enumerate(item.stage.data):
        for entry in through(source.documents(), filters):
            yield replace(entry, source=number) if isinstance(entry, Document) else entry


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
    """Documents that are new to their stage, with all their twins; the others are counted."""
    for entry in stream:
        if isinstance(entry, Dropped):
            item.tally.drop(entry)
            continue
        judged = (compared.of_conversation if item.stage.chats else compared.of_document)(entry)
        twins, signature = index.twins(entry, item.stage.name, judged)
        repeated = [
            twin
            for twin in twins
            if twin.stage == item.stage.name
            and twin.same_setting
            and not (twin.exact and settings.exact_duplicates == "keep")
        ]
        if repeated:
            item.tally.drop(_repetition(entry, repeated[0]))
        else:
            index.add(entry, item.stage.name, signature, judged.setting)
            yield entry, twins


def _repetition(document: Document, twin: Twin) -> Dropped:
    reason = "exact duplicate" if twin.exact else NEAR
    detail = f"of {twin.origin}" if twin.exact else f"{twin.similarity:.2f} of {twin.origin}"
    return Dropped(origin=document.origin, reason=reason, detail=detail, size_bytes=document.size_bytes)


def _split(recipe: Recipe, stages: list[StageSpool]) -> tuple[Sides, list[str]]:
    """The side of every group, and notices; groups that were moved are named."""
    spools = {item.stage.name: item for item in stages}
    return split.assign(
        {name: item.numbers for name, item in spools.items()},
        recipe.seed,
        recipe.prepare.validation_share,
        recipe.prepare.test_share,
        named=lambda stage, group: visible(spools[stage].name_of(group)),
    )


def _tokenizer(
    recipe: Recipe, stages: list[StageSpool], sides: Sides, folder: Path, reporter: Reporter
) -> Tokenizer:
    """The tokenizer of the recipe, saved into `folder`."""
    existing = _existing_tokenizer(recipe)
    if existing and recipe.tuned:
        tokenizers.copy(existing, folder, recipe.tuned.new_tokens)
        return tokenizers.load(folder)
    tokenizer = tokenizers.load(existing) if existing else _trained(recipe, stages, sides, reporter)
    assert isinstance(recipe.model, Model)
    tokenizers.save(tokenizer, folder, context=recipe.model.context)
    own = chat_template.own(existing) if existing else None
    if own:
        store.write_text(folder / chat_template.FILE, own.text)
    return tokenizer


def _plain_text(item: StageSpool, document: Document) -> str:
    """What a tokenizer learns from: of a conversation what is said, not the JSON it travels as."""
    if not item.stage.chats:
        return document.text
    return "\n".join(message.content for message in from_text(document.text).messages)


def _trained(recipe: Recipe, stages: list[StageSpool], sides: Sides, reporter: Reporter) -> Tokenizer:
    settings = recipe.tokenizer
    assert settings is not None
    reporter.say(f"tokenizer: learning {settings.vocab_size:,} tokens from the training documents")
    training = (
        (_plain_text(item, document), document.size_bytes)
        for item in stages
        for document in item.sided(sides)
        if isinstance(document, Document) and sides[document.group] == "train"
    )
    total = sum(item.text_bytes(sides, "train") for item in stages)
    texts = tokenizers.sampled(training, total, settings.sample_bytes)
    return tokenizers.train(texts, vocab_size=settings.vocab_size, special_tokens=settings.special_tokens)


def _encode(item: StageSpool, sides: Sides, encoder: Encoder, folder: Path, reporter: Reporter) -> None:
    """Write the stage's three token stores."""
    tokenizer = encoder.tokenizer
    writers: Writers = {name: TokenWriter(folder / name, tokenizer.vocab_size) for name in split.SIDES}
    try:
        if item.stage.data[0].YIELDS == "arrays":
            _copy_arrays(item, writers, tokenizer)
        else:
            _encode_documents(item, sides, writers, encoder, reporter)
        for writer in writers.values():
            writer.finish()
        item.counts = {name: writer.counts() for name, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.close()
    _require_training(item)


def _require_training(item: StageSpool) -> None:
    if not item.counts["train"]["documents"]:
        raise DataError(
            "no document is left for training",
            where=f"stages.{item.stage.name}.data",
            fix="lower prepare.validation_share and test_share, or add data",
        )


def _encode_chats(
    recipe: Recipe, item: StageSpool, sides: Sides, tokenizer: Tokenizer, work: Path, reporter: Reporter
) -> list[str]:
    """Write the stage's conversations as a model will see them, with what is learned marked; returns notices."""
    folder, stage = work / item.stage.name, item.stage
    writers: Writers = {
        name: TokenWriter(folder / name, tokenizer.vocab_size, masked=True) for name in split.SIDES
    }
    new_tokens = _new_tokens(recipe, _existing_tokenizer(recipe))
    with Chat.of(work / "tokenizer", recipe.chat_template, new_tokens) as chat:
        findings = Findings(chat, stage.sequence_length)
        try:
            with reporter.task(f"encode {stage.name}", item.total_bytes / 1e6 or None) as task:
                for document, done in _chatted(item, sides, chat, stage.loss_on):
                    _write_chat(item, document, done, writers[sides[document.group]], findings)
                    task.advance(document.size_bytes / 1e6)
            for writer in writers.values():
                writer.finish()
            item.counts = {name: writer.counts() for name, writer in writers.items()}
        finally:
            for writer in writers.values():
                writer.close()
        save_chat(chat, work / "tokenizer")
        item.chat = {
            "template": chat.template.origin,
            "template_sha256": chat.template.sha256,
            **findings.as_dict(),
        }
        notices = [*chat.notes, *findings.notices()]
    _require_training(item)
    reporter.say(
        f"encode {stage.name}: {findings.learned_tokens:,} of {findings.tokens:,} tokens are answers to be learned "
        f"({findings.answers:,} answers in {findings.examples:,} examples)"
    )
    return [f"stage {stage.name}: {notice}" for notice in notices]


def _chatted(
    item: StageSpool, sides: Sides, chat: Chat, loss_on: LossOn
) -> Iterator[tuple[Document, list[Encoded] | Refused]]:
    """Every kept conversation with its examples, or why it has none."""
    for batch in _batches(_kept(item, sides)):
        found = chat.encode_batch([from_text(document.text) for document in batch], loss_on)
        yield from zip(batch, found, strict=True)


def _write_chat(
    item: StageSpool,
    document: Document,
    done: list[Encoded] | Refused,
    writer: TokenWriter,
    findings: Findings,
) -> None:
    if isinstance(done, Refused):
        item.tally.drop(
            Dropped(
                origin=document.origin, reason=done.reason, detail=done.detail, size_bytes=document.size_bytes
            )
        )
        return
    about = _about(document)
    for example in done:
        writer.add(
            example.ids,
            text_bytes=example.text_bytes,
            about=about,
            source=document.source,
            learned=example.learned,
        )
        findings.add(example)
    changes = dict.fromkeys(change for example in done for change in example.changes)
    item.tally.keep(replace(document, changes=(*document.changes, *changes)))


def _about(document: Document) -> dict[str, Any]:
    return {name: getattr(document, name) for name in ("origin", "group", "language", "licence")}


def _encode_documents(
    item: StageSpool, sides: Sides, writers: Writers, encoder: Encoder, reporter: Reporter
) -> None:
    with reporter.task(f"encode {item.stage.name}", item.total_bytes / 1e6 or None) as task:
        for batch in _batches(_kept(item, sides)):
            rows = encoder.encode_documents([document.text for document in batch])
            for document, ids in zip(batch, rows, strict=True):
                writers[sides[document.group]].add(
                    ids, text_bytes=document.size_bytes, about=_about(document), source=document.source
                )
                item.tally.keep(document)
                task.advance(document.size_bytes / 1e6)


def _kept(item: StageSpool, sides: Sides) -> Iterator[Document]:
    for document in item.sided(sides):
        if isinstance(document, Dropped):
            item.tally.drop(document)
        else:
            yield document


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


def _copy_arrays(item: StageSpool, writers: Writers, tokenizer: Tokenizer) -> None:
    """Ready-made rows: each is one document, its text bytes are those its tokens stand for."""
    token_bytes = np.asarray(tokenizer.token_bytes(), np.int64)
    for number, source in enumerate(item.stage.data):
        for name, rows in source.arrays():  # type: ignore[attr-defined]
            for index, row in enumerate(rows):
                origin = f"{name}:{index}" if len(item.stage.data) == 1 else f"{number}:{name}:{index}"
                _check_ids(row, origin, len(token_bytes), where=f"stages.{item.stage.name}.data")
                size = int(token_bytes[row].sum())
                about = {"origin": origin, "group": origin, "language": "", "licence": ""}
                writers[name].add(row, text_bytes=size, about=about, source=number)
                item.tally.keep_counted(size)


def _check_ids(row: npt.NDArray[Any], origin: str, vocab_size: int, *, where: str) -> None:
    largest = int(row.max(initial=0))
    if largest >= vocab_size:
        raise DataError(
            f"row {origin} holds id {largest}, the tokenizer has {vocab_size} ids",
            where=where,
            fix="point tokenizer.path at the tokenizer the rows were made with",
        )


def _record(recipe: Recipe, stages: list[StageSpool], tokenizer: Tokenizer, work: Path) -> dict[str, Any]:
    existing = recipe.tuned is not None or bool(recipe.tokenizer and recipe.tokenizer.path)
    return {
        "stages": [_stage_record(item, work / item.stage.name, tokenizer.vocab_size) for item in stages],
        "tokenizer": {
            "vocab_size": tokenizer.vocab_size,
            "kind": "existing" if existing else "byte-level BPE trained on the training documents",
            "special_tokens": list(tokenizer.special_tokens.values()),
            "special_ids": tokenizer.special_ids,
        },
        "seed": recipe.seed,
    }


def _stage_record(item: StageSpool, folder: Path, vocab_size: int) -> dict[str, Any]:
    stores = {name: TokenStore.open(folder / name, vocab_size) for name in split.SIDES}
    shared = {
        name: leakage.shared_share(stores["train"], stores[name]) for name in split.SIDES if name != "train"
    }
    return {
        "name": item.stage.name,
        "sources": [source.NAME for source in item.stage.data],
        "tally": item.tally.as_dict(),
        "splits": item.counts,
        "groups": {name: few_groups(found) if len(item) else None for name, found in stores.items()},
        "chat": item.chat,
        "shared_13_token_runs": shared,
    }
