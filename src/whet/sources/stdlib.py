"""The standard library of the running Python as a corpus of code that every machine already has.

Nothing is downloaded or imported. The files vary with the Python version, so the fingerprint hashes their
content. Tests are left out unless asked for: they outweigh the library and read unlike it. C sources are
not part of an installation.

Cost: reads 12 MB (31 MB with tests; Python 3.11), one file at a time.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from whet.records import Document, Dropped
from whet.sources._stdlib_files import FIXTURE, LICENCE, TEST, Module, modules, require_modules
from whet.sources.base import Source
from whet.text import decode as decoding
from whet.text.decode import decode
from whet.text.open import UNREADABLE
from whet.text.refused import Refused

REASONS = (TEST, FIXTURE, UNREADABLE, *decoding.REASONS)


class StdlibSource(Source):
    """Every .py file of the standard library; see the module's docstring."""

    NAME = "stdlib"
    SUMMARY = "the standard library of the running Python, as code"
    UNITS = "modules"
    EXAMPLE = "{source: stdlib}"

    source: Literal["stdlib"] = "stdlib"
    tests: bool = Field(default=False, description="Whether to include the library's own tests.")

    @model_validator(mode="after")
    def _installed(self) -> Self:
        require_modules()
        return self

    def fingerprint(self) -> str:
        """A hash over the names and contents of all files, the Python version and the settings."""
        total = hashlib.sha256(f"{self.NAME} {platform.python_version()} {self.tests}".encode())
        for module in modules():
            total.update(f"\n{module.name} ".encode("utf-8", "surrogateescape"))
            raw = b"" if self._why_left_out(module) else module.read()
            total.update(hashlib.sha256(raw).digest() if isinstance(raw, bytes) else b"unreadable")
        return total.hexdigest()

    def documents(self) -> Iterator[Document | Dropped]:
        """One document a module, sorted by folder and name."""
        for module in modules():
            reason = self._why_left_out(module)
            yield module.drop(reason) if reason else _document(module)

    def _why_left_out(self, module: Module) -> str:
        reason = module.why_left_out
        return "" if reason == TEST and self.tests else reason


def _document(module: Module) -> Document | Dropped:
    raw = module.read()
    if isinstance(raw, Dropped):
        return raw
    try:
        text, changes = decode(raw, python=True)
    except Refused as why:
        return module.drop(why.reason, why.detail)
    return Document(
        text=text,
        origin=module.origin,
        group=module.group,
        language="python",
        licence=LICENCE,
        changes=changes,
    )
