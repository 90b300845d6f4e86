"""What every source promises.

A source is its own settings: the validated keys of one entry under `data:` in a recipe. It can say
whether its input exists (at validation, before anything is written), can fingerprint it (so that
unchanged input is not prepared twice), and yields its documents one at a time, with bounded memory.
It decodes but does not judge: cleaning is the filters' work.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationInfo

from whet.records import Document, Dropped
from whet.registry import Registry
from whet.settings import Settings


class Source(Settings):
    """One kind of raw material. Subclasses set the class attributes and a `source: Literal[NAME]` field.

    NAME is what recipes write, SUMMARY one line for lists, UNITS what one record is ("files"),
    EXAMPLE a recipe entry that validates on every machine (shown in the docs, tried by a test).
    """

    model_config = ConfigDict(frozen=True)

    TAG = "source"
    NAME: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    UNITS: ClassVar[str] = ""
    EXAMPLE: ClassVar[str] = ""
    YIELDS: ClassVar[Literal["documents", "arrays", "conversations"]] = "documents"
    """documents: texts; arrays: ready-made token ids (`arrays` instead of `documents`); conversations: documents
    whose text is a conversation (`whet.text.conversation`)."""

    source: str
    weight: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="This source's share of the stage's learned tokens, relative to the other sources' weights: "
        "all of a stage's sources have one, or none. Small sources are repeated. Without weights, every token "
        "is learned equally often.",
    )

    @abstractmethod
    def fingerprint(self) -> str:
        """A hexadecimal hash that changes whenever the documents would, and not with `weight`."""

    @abstractmethod
    def documents(self) -> Iterator[Document | Dropped]:
        """Every record of the input, in a deterministic order: a document, or why there is none."""


def resolve(path: str, info: ValidationInfo) -> Path:
    """`path` relative to the folder of the recipe (pydantic context key `folder`), absolute and with `~`."""
    folder = Path((info.context or {}).get("folder", "."))
    return Path(folder, os.path.expanduser(path)).absolute()


SOURCES: Registry[Source] = Registry(Source, "whet.sources", ("UNITS", "EXAMPLE"))
