"""The standard library as code and as English: complete, the same twice, bound together by groups."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError

from whet.records import Document, Dropped
from whet.sources import _stdlib_files, stdlib, stdlib_english
from whet.sources.stdlib import StdlibSource
from whet.sources.stdlib_english import StdlibEnglishSource

DECODER = '''"""Decodes."""
class D:
    """A class."""
    def f(self):
        """A method.

        More.
        """
if 1:
    async def g():
        """Conditional."""
'''


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small standard library in place of the real one."""
    files = {
        "json/__init__.py": '"""JSON."""\n',
        "json/decoder.py": DECODER,
        "latin.py": "# coding: latin-1\n'''café'''\n".encode("latin-1"),
        "broken.py": "def (:\n",
        "silent.py": "x = 1\n",
        "bytes.py": b"x = '\xff'\n",
        "test/test_json.py": '"""A test."""\n',
        "unittest/case.py": '"""Not a test."""\n',
        "lib2to3/tests/data/py2.py": "print 'x'\n",
        "site-packages/other.py": "x = 1\n",
        "json/__pycache__/decoder.py": "x = 1\n",
        "json/data.txt": "no module",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(_stdlib_files.sysconfig, "get_path", lambda name: str(tmp_path))
    return tmp_path


def outcome(source: StdlibSource | StdlibEnglishSource) -> dict[str, str]:
    return {
        item.origin: item.group if isinstance(item, Document) else f"<{item.reason}>"
        for item in source.documents()
    }


def test_code(library: Path) -> None:
    expected = {
        "stdlib/broken": "module:broken",
        "stdlib/bytes": "<undecodable>",
        "stdlib/latin": "module:latin",
        "stdlib/silent": "module:silent",
        "stdlib/json": "module:json",
        "stdlib/json.decoder": "module:json.decoder",
        "stdlib/lib2to3.tests.data.py2": "<test fixture>",
        "stdlib/test.test_json": "<test module>",
        "stdlib/unittest.case": "module:unittest.case",
    }
    assert outcome(StdlibSource()) == expected
    assert outcome(StdlibSource(tests=True)) == expected | {"stdlib/test.test_json": "module:test.test_json"}
    assert set(stdlib.REASONS) >= {value[1:-1] for value in expected.values() if value.startswith("<")}


def test_english(library: Path) -> None:
    found = outcome(StdlibEnglishSource())
    topics = {origin for origin in found if origin.startswith("help/")}
    assert len(topics) > 50
    kept = {origin for origin in topics if found[origin] != f"<{stdlib_english.PART_OF_ANOTHER}>"}
    assert len(kept) > 40
    assert all(found[origin] == f"topic:{origin[5:]}" for origin in kept)
    assert {origin: value for origin, value in found.items() if origin not in topics} == {
        "stdlib/broken": "<not parseable as Python>",
        "stdlib/bytes": "<undecodable>",
        "stdlib/latin docstrings": "module:latin",
        "stdlib/silent": "<no docstring>",
        "stdlib/json docstrings": "module:json",
        "stdlib/json.decoder docstrings": "module:json.decoder",
        "stdlib/lib2to3.tests.data.py2": "<test fixture>",
        "stdlib/test.test_json": "<test module>",
        "stdlib/unittest.case docstrings": "module:unittest.case",
    }


def test_docstrings_stand_under_their_names(library: Path) -> None:
    items = StdlibEnglishSource().documents()
    texts = {item.group: item.text for item in items if isinstance(item, Document)}
    assert texts["module:latin"] == "latin\n\ncafé\n"
    assert texts["module:json.decoder"] == (
        "json.decoder\n\nDecodes.\n\n\njson.decoder.D\n\nA class.\n\n\n"
        "json.decoder.D.f\n\nA method.\n\nMore.\n\n\njson.decoder.g\n\nConditional.\n"
    )


@pytest.mark.parametrize("kind", [StdlibSource, StdlibEnglishSource])
def test_fingerprint_follows_the_content(
    library: Path, kind: type[StdlibSource | StdlibEnglishSource]
) -> None:
    first = kind().fingerprint()
    (library / "json/data.txt").write_text("still no module")
    (library / "test/test_json.py").write_text("a test that is left out")
    assert kind().fingerprint() == first
    (library / "silent.py").write_text("x = 2\n")
    assert kind().fingerprint() != first


def test_the_fingerprint_with_tests_differs(library: Path) -> None:
    assert StdlibSource().fingerprint() != StdlibSource(tests=True).fingerprint()


def test_an_installation_without_sources_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stdlib_files.sysconfig, "get_path", lambda name: str(tmp_path / "none"))
    with pytest.raises(ValidationError, match="no source of its standard library"):
        StdlibSource.model_validate({"source": "stdlib"})


def test_missing_topics_are_counted(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    assert outcome(StdlibEnglishSource())["help topics"] == "<help topics not installed>"


def test_the_real_library() -> None:
    code = [item for item in StdlibSource().documents() if isinstance(item, Document)]
    groups = {document.group for document in code}
    assert len(groups) == len(code) > 400
    assert {"module:json", "module:json.decoder", "module:argparse"} <= groups
    assert not any(".test" in group or ":test." in group for group in groups)
    (argparse,) = (document.text for document in code if document.group == "module:argparse")
    ast.parse(argparse)


def test_the_real_english() -> None:
    items = list(StdlibEnglishSource().documents())
    english = [item for item in items if isinstance(item, Document)]
    assert {item.reason for item in items if isinstance(item, Dropped)} <= set(stdlib_english.REASONS)
    assert sum(document.size_bytes for document in english) > 1_500_000


def test_no_topic_is_a_section_of_another() -> None:
    """`help("for")` is a section of `help("compound")`: on two sides of a split it would be a test on training text."""
    items = list(stdlib_english._topics())
    kept = {item.origin: stdlib_english._lines(item.text) for item in items if isinstance(item, Document)}
    gone = {item.origin: item.detail for item in items if isinstance(item, Dropped)}
    assert gone["help/for"] == "compound"
    assert {f"help/{whole}" for whole in gone.values()} <= set(kept), "what holds it stays"
    assert not [
        (one, other)
        for one, lines in kept.items()
        for other, more in kept.items()
        if one != other and len(lines & more) > 0.9 * len(lines)
    ]
