"""English that every Python installation holds: its help topics and the docstrings of its library.

A help topic is one document, unless it is a section of another one; a module's docstrings, each under the name
of what it documents, are one. Docstrings are taken from the syntax tree, never by importing. A module shares its
group with its code in `stdlib`, so that a docstring and its module stay on one side of a split. Left out:
comments, tests, and modules without a docstring; examples in docstrings stay.

Cost: parses the library once, under 2 s for its 2.5 MB of English; one module in memory at a time.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import warnings
from collections.abc import Iterator
from typing import Literal, Self

from pydantic import model_validator

from whet.records import Document, Dropped
from whet.sources._stdlib_files import FIXTURE, LICENCE, TEST, Module, modules, require_modules
from whet.sources.base import Source
from whet.text import decode as decoding
from whet.text.decode import decode
from whet.text.open import UNREADABLE
from whet.text.refused import Refused

NO_DOCSTRING = "no docstring"
NOT_PYTHON = "not parseable as Python"
NO_TOPICS = "help topics not installed"
PART_OF_ANOTHER = "part of another topic"
PART_SHARE = 0.8
"""Of a topic's text: a larger topic that has so much of it has it as a section."""
SHORT_LINE = 20
"""Shorter lines stand in many topics."""
REASONS = (NO_DOCSTRING, NOT_PYTHON, NO_TOPICS, PART_OF_ANOTHER, TEST, FIXTURE, UNREADABLE, *decoding.REASONS)

_Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class StdlibEnglishSource(Source):
    """Help topics and docstrings; see the module's docstring."""

    NAME = "stdlib_english"
    SUMMARY = "the English in the running Python: help topics and docstrings"
    UNITS = "topics and modules"
    EXAMPLE = "{source: stdlib_english}"

    source: Literal["stdlib_english"] = "stdlib_english"

    @model_validator(mode="after")
    def _installed(self) -> Self:
        require_modules()
        return self

    def fingerprint(self) -> str:
        """A hash over the topics, the contents of all modules, and the Python version."""
        total = hashlib.sha256(f"{self.NAME} {platform.python_version()}".encode())
        for topic in _topics():
            text = topic.text if isinstance(topic, Document) else topic.reason
            total.update(f"\n{topic.origin} {text}".encode())
        for module in modules():
            total.update(f"\n{module.name} ".encode("utf-8", "surrogateescape"))
            raw = b"" if module.why_left_out else module.read()
            total.update(hashlib.sha256(raw).digest() if isinstance(raw, bytes) else b"unreadable")
        return total.hexdigest()

    def documents(self) -> Iterator[Document | Dropped]:
        """The topics by name, then the modules by folder and name."""
        yield from _topics()
        for module in modules():
            reason = module.why_left_out
            yield module.drop(reason) if reason else _document(module)


def _topics() -> Iterator[Document | Dropped]:
    """Python's language reference as `help()` shows it; data in an importable file."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        yield Dropped(origin="help topics", reason=NO_TOPICS, detail=str(error))
        return
    lines = {name: _lines(text) for name, text in topics.items()}
    for name, text in sorted(topics.items()):
        whole = _larger(name, lines)
        if whole:
            size = len(text.encode("utf-8"))
            yield Dropped(origin=f"help/{name}", reason=PART_OF_ANOTHER, detail=whole, size_bytes=size)
            continue
        yield Document(
            text=text, origin=f"help/{name}", group=f"topic:{name}", language="english", licence=LICENCE
        )


def _lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if len(line.strip()) > SHORT_LINE}


def _larger(name: str, lines: dict[str, set[str]]) -> str | None:
    """The topic that holds this one: the reference's pages are topics, and so are sections of them."""
    own = lines[name]
    size = sum(map(len, own))
    for other, theirs in sorted(lines.items()):
        if len(theirs) > len(own) and sum(map(len, own & theirs)) > PART_SHARE * size:
            return other
    return None


def _document(module: Module) -> Document | Dropped:
    raw = module.read()
    if isinstance(raw, Dropped):
        return raw
    try:
        text, changes = decode(raw, python=True)
        tree = _parse(text)
    except Refused as why:
        return module.drop(why.reason, why.detail)
    sections = [f"{name}\n\n{docstring}" for name, docstring in _docstrings(tree, module.name)]
    if not sections:
        return module.drop(NO_DOCSTRING)
    return Document(
        text="\n\n\n".join(sections) + "\n",
        origin=f"{module.origin} docstrings",
        group=module.group,
        language="english",
        licence=LICENCE,
        changes=changes,
    )


def _parse(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own invalid escapes are not ours to report
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise Refused(NOT_PYTHON, str(error)[:100]) from None


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Qualified name and cleaned docstring of a module, its classes and functions, in reading order."""
    if isinstance(node, ast.Module | _Named) and (docstring := ast.get_docstring(node)):
        yield name, docstring
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Named):
            yield from _docstrings(child, f"{name}.{child.name}")
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from _docstrings(child, name)
