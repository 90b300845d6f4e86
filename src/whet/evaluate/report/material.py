"""What went in: documents, bytes and tokens of every stage, and all that was dropped or changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet.evaluate.report.charts import Scale
from whet.evaluate.report.fields import number, part, parts, text, texts
from whet.evaluate.report.wording import ABSENT, count, decimal, share, size, whole

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class SplitRow:
    split: str
    documents: str
    size: str
    tokens: str
    bytes_per_token: str


@dataclass(frozen=True, slots=True)
class DroppedRow:
    reason: str
    documents: str
    size: str
    share: str
    width: float
    examples: list[str]


@dataclass(frozen=True, slots=True)
class Mass:
    """One row of the token-mass chart: the stage's share of all tokens, cut into its splits."""

    tokens: str
    share: str
    segments: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class StageMaterial:
    name: str
    sources: list[str]
    splits: list[SplitRow]
    mass: Mass | None
    documents_in: str
    bytes_in: str
    documents_kept: str
    bytes_kept: str
    kept_share: str
    dropped: list[DroppedRow]
    changed: list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Material:
    stages: list[StageMaterial]
    tokenizer_kind: str
    vocab_size: str
    special_tokens: list[str]


def material(data: Mapping[str, Any]) -> Material | None:
    """The section, or None when nothing was prepared yet."""
    stages = parts(data, "prepare", "stages")
    if not stages:
        return None
    total, largest = sum(map(_tokens, stages)), max(map(_tokens, stages))
    tokenizer = part(data, "prepare", "tokenizer")
    return Material(
        stages=[_stage(stage, total, largest) for stage in stages],
        tokenizer_kind=text(tokenizer, "kind"),
        vocab_size=whole(number(tokenizer, "vocab_size")),
        special_tokens=texts(tokenizer, "special_tokens"),
    )


def _stage(stage: Mapping[str, Any], total: float, largest: float) -> StageMaterial:
    tally = part(stage, "tally")
    came, stayed = number(tally, "documents_in"), number(tally, "documents_kept")
    return StageMaterial(
        name=text(stage, "name"),
        sources=texts(stage, "sources"),
        splits=[_split(split, part(stage, "splits", split)) for split in SPLITS],
        mass=_mass(stage, total, largest) if largest else None,
        documents_in=whole(came),
        bytes_in=size(number(tally, "bytes_in")),
        documents_kept=whole(stayed),
        bytes_kept=size(number(tally, "bytes_kept")),
        kept_share=share(stayed / came) if came and stayed is not None else ABSENT,
        dropped=[_dropped(row, came) for row in parts(tally, "dropped")],
        changed=_changed(tally, came),
    )


def _split(name: str, split: Mapping[str, Any]) -> SplitRow:
    tokens, length = number(split, "tokens"), number(split, "bytes")
    return SplitRow(
        split=name,
        documents=whole(number(split, "documents")),
        size=size(length),
        tokens=whole(tokens),
        bytes_per_token=decimal(length / tokens if tokens and length is not None else None),
    )


def _tokens(stage: Mapping[str, Any]) -> float:
    return sum(number(stage, "splits", split, "tokens") or 0 for split in SPLITS)


def _mass(stage: Mapping[str, Any], total: float, largest: float) -> Mass:
    scale = Scale(0, largest)
    segments = [(split, scale.place(number(stage, "splits", split, "tokens") or 0)) for split in SPLITS]
    return Mass(count(_tokens(stage)), share(_tokens(stage) / total), segments)


def _dropped(row: Mapping[str, Any], came: float | None) -> DroppedRow:
    documents = number(row, "documents")
    part_of_all = documents / came if came and documents is not None else None
    return DroppedRow(
        reason=text(row, "reason"),
        documents=whole(documents),
        size=size(number(row, "bytes")),
        share=share(part_of_all),
        width=round(100 * min(part_of_all or 0, 1), 2),
        examples=texts(row, "examples"),
    )


def _changed(tally: Mapping[str, Any], came: float | None) -> list[tuple[str, str, str]]:
    """(what was done, documents, share of the documents that came in)."""
    changes = part(tally, "changed")
    figures = {str(change): number(changes, change) for change in changes}
    return [
        (change, whole(documents), share(documents / came if came and documents is not None else None))
        for change, documents in figures.items()
    ]
