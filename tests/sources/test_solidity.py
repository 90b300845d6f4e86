"""Solidity as a source: what is read, what is named when it cannot be, and, with a compiler, the records themselves."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.evm.test_pairs_make import BANK, DEEP, SUMS

from whet.errors import WhetError
from whet.evm.pairs import nouns
from whet.evm.pairs.inventory import tokens
from whet.evm.pairs.nouns import Project
from whet.evm.pairs.prompt import LEFT_OUT, NO_ROOM_CALLED
from whet.records import Document, Dropped
from whet.sources import _solidity, solidity
from whet.sources._solidity import packages, projects_at
from whet.sources.solidity import SoliditySource
from whet.text.conversation import from_text


def source(folder: Path, **settings: Any) -> SoliditySource:
    return SoliditySource.model_validate({"source": "solidity", **settings}, context={"folder": folder})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of everything that can lie in one."""
    standard = {"language": "Solidity", "sources": {"E.sol": {"content": "contract E { }"}}}
    metadata = {"compiler": {"version": "0.8.19"}, "settings": {}, "sources": {"src/V.sol": {}}}
    files: dict[str, bytes] = {
        "src/Bank.sol": BANK.encode(),
        "src/Sums.sol": SUMS.encode(),
        "test/Bank.t.sol": b"contract T { }",
        "out/build-info/1.json": json.dumps({"solcVersion": "0.8.19", "input": standard}).encode(),
        "exports/E.json": json.dumps(standard).encode(),
        "verified/0x1/metadata.json": json.dumps(metadata).encode(),
        "verified/0x1/sources/src/V.sol": b"contract V { }",
        "alone/metadata.json": json.dumps(metadata).encode(),
        "package.json": b'{"name": "x"}',
        "broken.json": b"{",
        "README.md": b"words",
        "src/latin.sol": "// é".encode("latin-1"),
        "node_modules/lib/L.sol": b"contract L { }",
    }
    for name, raw in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return tmp_path


def test_what_a_folder_holds(folder: Path) -> None:
    found = list(projects_at([str(folder)], [], tests=False))
    projects = {one.name: one for one in found if isinstance(one, Project)}
    root = folder.name
    assert projects[root].own == ("src/Bank.sol", "src/Sums.sol")
    assert projects[f"{root}/out/build-info/1.json"].compiled["version"] == "0.8.19"
    assert projects[f"{root}/exports/E.json"].own == ("E.sol",)
    assert projects[f"{root}/verified/0x1/metadata.json"].texts == {"src/V.sol": "contract V { }"}
    reasons = {one.origin: one.reason for one in found if isinstance(one, Dropped)}
    assert reasons == {
        f"{root}/package.json": _solidity.NO_EXPORT,
        f"{root}/broken.json": _solidity.NO_EXPORT,
        f"{root}/alone/metadata.json": _solidity.NO_EXPORT,
        f"{root}/README.md": _solidity.OTHER_FILE,
        f"{root}/node_modules": "version control or cache folder",
        f"{root}:src/latin.sol": nouns.NO_TEXT,
        f"{root}:test/Bank.t.sol": nouns.TEST,
    }
    assert set(reasons.values()) <= set(solidity.REASONS)


def test_projects_of_several_paths_have_names_of_their_own(folder: Path) -> None:
    standard = (folder / "exports/E.json").read_text("utf-8")
    for name in ("a/contracts", "b/contracts"):
        (folder / name).mkdir(parents=True)
        (folder / name / "Bank.sol").write_text(BANK, "utf-8")
        (folder / name / "E.json").write_text(standard, "utf-8")
    paths = [str(folder / name) for name in ("a/contracts", "b/contracts", "src/Sums.sol", "a/contracts/")]
    found = [one for one in projects_at(paths, [], tests=False) if isinstance(one, Project)]
    assert [(one.name, one.lineage) for one in found] == [
        (name, name)
        for name in (
            "a/contracts/E.json",
            "a/contracts",
            "b/contracts/E.json",
            "b/contracts",
            "src/Sums.sol",
        )
    ]


def test_sources_beside_metadata_that_are_no_text_are_named(folder: Path) -> None:
    metadata = {"compiler": {"version": "0.8.19"}, "sources": {"src/V.sol": {}, "src/W.sol": {}}}
    (folder / "verified/0x1/metadata.json").write_text(json.dumps(metadata), "utf-8")
    (folder / "verified/0x1/sources/src/W.sol").write_bytes("// é".encode("latin-1"))
    found = list(projects_at([str(folder / "verified")], [], tests=False))
    (project,) = [one for one in found if isinstance(one, Project)]
    assert project.own == ("src/V.sol",)
    assert [(one.origin, one.reason) for one in found if isinstance(one, Dropped)] == [
        ("verified/0x1/metadata.json:src/W.sol", nouns.NO_TEXT)
    ]


def test_a_file_that_lies_there_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "A.sol").write_text("contract A { }", "utf-8")
    (tmp_path / "A.sol.gz").write_bytes(gzip.compress(b"contract Other { }"))
    (tmp_path / "B.sol.gz").write_bytes(gzip.compress(b"contract B { }"))
    dropped, project = projects_at([str(tmp_path)], [], tests=False)
    assert isinstance(dropped, Dropped)
    assert (dropped.origin, dropped.reason) == (f"{tmp_path.name}/A.sol.gz", _solidity.TWICE)
    assert dropped.reason in solidity.REASONS
    assert isinstance(project, Project)
    assert project.texts == {"A.sol": "contract A { }", "B.sol": "contract B { }"}


def test_an_entry_of_an_export_without_solidity_costs_no_other(tmp_path: Path) -> None:
    good = {"SourceCode": "contract A { }", "ContractName": "A", "CompilerVersion": "v0.8.19+commit.7dd6d404"}
    other = {**good, "CompilerVersion": "vyper:0.3.7"}
    unverified = {"SourceCode": "", "ContractName": "", "CompilerVersion": ""}
    listed = [good, other, good, [unverified, good], 3, [], good]
    for name, values in (("plain.json", listed), ("result.json", {"status": "1", "result": listed})):
        (tmp_path / name).write_text(json.dumps(values), "utf-8")
    found = list(projects_at([str(tmp_path)], [], tests=False))
    assert len(found) == 2 * 8
    for name in ("plain.json", "result.json"):
        start = f"{tmp_path.name}/{name}"
        assert [one.name for one in found if isinstance(one, Project) and one.name.startswith(start)] == [
            f"{start}[{at}]:A" for at in ("0", "2", "3][1", "6")
        ]
        assert [
            (one.origin, one.reason, one.detail)
            for one in found
            if isinstance(one, Dropped) and one.origin.startswith(start)
        ] == [
            (f"{start}[{at}]", _solidity.NO_EXPORT, why)
            for at, why in (
                ("1", "not Solidity: vyper:0.3.7"),
                ("3][0", "no verified source"),
                ("4", "no export that is known here"),
                ("5", "no export that is known here"),
            )
        ]


def test_what_metadata_lists_and_what_lies_beside_it_are_both_accounted_for(folder: Path) -> None:
    metadata = {"sources": {"A.sol": {}, "B.sol": {}, "D.sol": {"content": "contract D { }"}}}
    home = folder / "one/0x2"
    for name, text in (
        ("metadata.json", json.dumps(metadata)),
        ("sources/A.sol", "a"),
        ("sources/C.sol", "c"),
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, "utf-8")
    first, dropped, rest = projects_at([str(folder / "one")], [], tests=False)
    assert isinstance(first, Project)
    assert first.own == ("A.sol", "D.sol")
    assert isinstance(dropped, Dropped)
    assert (dropped.origin, dropped.reason) == ("one/0x2/metadata.json:B.sol", nouns.NO_CONTENT)
    assert isinstance(rest, Project)
    assert rest.own == ("0x2/sources/C.sol",)


def test_a_file_a_list_and_a_glob(folder: Path) -> None:
    (one,) = projects_at([str(folder / "src/Sums.sol")], [], tests=False)
    assert isinstance(one, Project)
    assert one.own == ("Sums.sol",)
    (some,) = projects_at([str(folder / "src/S*.sol")], [], tests=False)
    assert isinstance(some, Project)
    assert len(some.own) == 1


def test_packages_that_cannot_be_had_are_dropped_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str, version: str) -> None:
        raise WhetError("no network")

    monkeypatch.setattr("whet.evm.pairs.projects.package", nothing)
    (dropped,) = packages(["solmate@6.8.0"], [], tests=False)
    assert isinstance(dropped, Dropped)
    assert (dropped.origin, dropped.reason) == ("solmate@6.8.0", _solidity.PACKAGE)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"npm": []},
        {"path": "nowhere"},
        {"npm": ["solmate@6.8.0"], "builds": ["fast"]},
        {"npm": ["solmate@6.8.0"], "builds": []},
        {"npm": ["solmate@6.8.0"], "solc": "newest"},
        {"npm": ["solmate@6.8.0"], "families": "nothing"},
        {"npm": ["solmate@6.8.0"], "most_per_era": 0},
        {"npm": ["solmate@6.8.0"], "metadata": "half"},
        {"npm": ["solmate@6.8.0"], "prompt_tokens": 0},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        source(tmp_path, **settings)


def test_the_fingerprint_follows_files_and_settings(folder: Path) -> None:
    first = source(folder, path="src").fingerprint()
    assert source(folder, path="src").fingerprint() == first
    assert source(folder, path="src", builds=["off"]).fingerprint() != first
    (folder / "src/Sums.sol").write_text(DEEP)
    assert source(folder, path="src").fingerprint() != first
    npm = source(folder, npm=["solmate@6.8.0"]).fingerprint()
    assert npm != source(folder, npm=["solmate@6.7.0"]).fingerprint()


@pytest.mark.slow
def test_records(folder: Path) -> None:
    """With a compiler: a pair is a conversation, everything else is a counted drop."""
    made = source(folder, path=["src", "exports"], builds=["default", "off"])
    found = list(made.documents())
    documents = [one for one in found if isinstance(one, Document)]
    dropped = [one for one in found if isinstance(one, Dropped)]
    assert {one.group for one in documents} == {"src"}
    assert {one.licence for one in documents} == {"MIT"}
    assert {one.reason for one in dropped} <= set(solidity.REASONS)
    assert Counter(one.origin for one in found).most_common(1)[0][1] == 1
    said = {one.origin: from_text(one.text).messages for one in documents}
    task, asked, answered = next(
        text for origin, text in said.items() if "Bank.deposit" in origin and "runs200" in origin
    )
    assert (task.role, asked.role, answered.role) == ("system", "user", "assistant")
    assert asked.content.startswith(
        "// signature: deposit()\n// visibility: external\n// mutability: payable\n"
    )
    assert answered.content.startswith("function deposit() external payable {")
    assert "msg.value" in asked.content
    assert "balances" in asked.content
    by_file = source(folder, path="src", families="file")
    assert {one.group for one in by_file.documents() if isinstance(one, Document)} == {
        "src:Bank.sol",
        "src:Sums.sol",
    }


@pytest.mark.slow
def test_shown_and_hidden_are_two_records_of_one_group(folder: Path) -> None:
    """With a compiler: the same answers; what does not fit is counted, and so is what a prompt leaves out."""
    both = list(source(folder, path="src", metadata="both", emitted=True).documents())
    documents = {one.origin: one for one in both if isinstance(one, Document)}
    shown = {origin: one for origin, one in documents.items() if not origin.endswith(":hidden")}
    assert len(documents) == 2 * len(shown) > 10
    for origin, one in shown.items():
        hidden = documents[f"{origin}:hidden"]
        assert one.group == hidden.group
        before, after = from_text(one.text).messages, from_text(hidden.text).messages
        assert before[2] == after[2]
        assert before[0] != after[0]
        assert "// signature: " in before[1].content
        assert "// signature: " not in after[1].content
    deposit = next(
        one for origin, one in documents.items() if "Bank.deposit" in origin and "hidden" in origin
    )
    assert "deposit" not in from_text(deposit.text).messages[1].content
    assert "// emitter\nfunction " in from_text(deposit.text).messages[1].content
    hidden_only = source(folder, path="src", metadata="hidden", prompt_tokens=60)
    few = list(hidden_only.documents())
    kept = [one for one in few if isinstance(one, Document)]
    assert 0 < len(kept) < len(shown)
    assert len([one for one in few if isinstance(one, Dropped) and one.origin.endswith(":hidden")]) == len(
        shown
    ) - len(kept)
    assert {one.reason for one in few if isinstance(one, Dropped) and one.origin.endswith(":hidden")} == {
        nouns.LONG
    }
    changed = {change for one in kept for change in one.changes}
    assert changed <= set(LEFT_OUT)
    assert NO_ROOM_CALLED in changed


@pytest.mark.slow
def test_what_an_export_asks_for_in_vain_is_told_of_every_pair(tmp_path: Path) -> None:
    """With a compiler."""
    files = {"Bank.sol": {"content": BANK}, "Sums.sol": {"content": SUMS}}
    told = {"optimizer": {"enabled": True}, "debug": {"revertStrings": "strip"}}
    standard = {"language": "Solidity", "sources": files, "settings": told}
    (tmp_path / "E.json").write_text(json.dumps(standard), "utf-8")
    for build, expected in (("default", (nouns.OWN_SETTINGS,)), ("off", ())):
        made = source(tmp_path, path="E.json", builds=[build])
        documents = [one for one in made.documents() if isinstance(one, Document)]
        assert documents
        assert {one.changes for one in documents} == {expected}


@pytest.mark.slow
def test_with_names_of_the_prompt_no_answer_has_one_that_it_lacks(folder: Path) -> None:
    """With a compiler: at any budget."""
    for budget in (80, 120, 20_000):
        made = source(folder, path="src", names="context", metadata="both", prompt_tokens=budget)
        for pair, record in made.pairs():
            _, asked, said = (message.content for message in from_text(record.text).messages)
            added = {*tokens(said)} - {*tokens(pair.source)}
            assert added <= {*re.findall(r"\w+", asked)}, record.origin
