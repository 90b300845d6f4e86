"""Projects: folders with remappings, standard JSON, build-info, Etherscan, Sourcify; odd ones are named."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.evm.pairs import exports, projects
from whet.evm.pairs.builds import chunks
from whet.evm.pairs.exports import NotRead
from whet.evm.pairs.kept import place
from whet.evm.pairs.nouns import (
    IMPORT,
    NEAREST,
    NO_COMPILER,
    NO_CONTENT,
    NO_SETTING,
    NO_SETTINGS,
    NO_TEXT,
    NOT_LISTED,
    OWN_EVM,
    OWN_SETTINGS,
    PRAGMA,
    Project,
)
from whet.evm.pairs.projects import from_folder, remapped
from whet.evm.solc.compiler import Settings, compile_standard
from whet.evm.solc.npm import Package
from whet.evm.solc.sources import ANY_VERSION, for_any_version, imports, pragmas

TOKEN = "// SPDX-License-Identifier: MIT\npragma solidity ^0.8.0;\ncontract Token { }\n"
USES = 'pragma solidity ^0.8.0;\nimport {Token} from "@lib/Token.sol";\nimport "./Other.sol";\ncontract User is Token { }\n'
STANDARD: dict[str, Any] = {
    "language": "Solidity",
    "sources": {"src/User.sol": {"content": USES}, "lib/token/Token.sol": {"content": TOKEN}},
    "settings": {
        "optimizer": {"enabled": True, "runs": 999},
        "viaIR": True,
        "evmVersion": "cancun",
        "remappings": ["@lib/=lib/token/"],
    },
}
KEYS = [
    *(
        "language",
        "sources",
        "settings",
        "input",
        "solcVersion",
        "result",
        "SourceCode",
        "CompilerVersion",
        "content",
    ),
    *(
        "compilation",
        "compilerSettings",
        "stdJsonInput",
        "files",
        "name",
        "path",
        "compiler",
        "version",
        "optimizer",
    ),
    *(
        "enabled",
        "runs",
        "viaIR",
        "evmVersion",
        "remappings",
        "OptimizationUsed",
        "Runs",
        "LicenseType",
        "metadata.json",
    ),
    *(
        "details",
        "deduplicate",
        "yul",
        "yulDetails",
        "debug",
        "revertStrings",
        "libraries",
    ),
]
TOLD = {"version": "0.8.24", "runs": 999, "via_ir": True, "evm_version": "cancun"}


def one(values: Any) -> Project:
    ((name, entry),) = exports.listed(values, "x.json")
    return exports.project(entry, name)


def test_standard_json_tells_settings_and_remaps() -> None:
    project = one(STANDARD)
    assert project.compiled == {name: value for name, value in TOLD.items() if name != "version"}
    assert 'from "lib/token/Token.sol"' in project.texts["src/User.sol"]
    assert 'import "./Other.sol"' in project.texts["src/User.sol"]
    assert project.own == ("lib/token/Token.sol", "src/User.sol")


@pytest.mark.parametrize(
    "form",
    [
        {
            "_format": "hh-sol-build-info-1",
            "solcVersion": "0.8.24",
            "solcLongVersion": "0.8.24+commit.e",
            "output": {},
        },
        {"_format": "hh3-sol-build-info-1", "id": "solc-0_8_24", "solcVersion": "0.8.24"},
        {"id": "0a", "solcVersion": "0.8.24", "source_id_to_path": {}},
    ],
)
def test_build_info(form: dict[str, Any]) -> None:
    project = one({**form, "input": STANDARD})
    assert project.compiled == TOLD
    assert set(project.texts) == set(STANDARD["sources"])


def test_etherscan_with_one_file() -> None:
    told = {
        "SourceCode": TOKEN,
        "ContractName": "Token",
        "CompilerVersion": "v0.8.19+commit.7dd6d404",
        "OptimizationUsed": "1",
        "Runs": "1000",
        "EVMVersion": "Default",
        "LicenseType": "MIT",
    }
    project = one({"status": "1", "message": "OK", "result": [told]})
    assert project.texts == {"Token.sol": TOKEN}
    assert project.compiled == {"version": "0.8.19", "runs": 1000, "via_ir": False}
    assert project.licence == "MIT"
    off = one({**told, "OptimizationUsed": "0", "LicenseType": "None"})
    assert off.compiled["runs"] is None
    assert off.licence == ""


def test_etherscan_with_several_files_in_both_forms() -> None:
    about = {
        "ContractName": "User",
        "CompilerVersion": "v0.8.24+commit.e11b9ed9",
        "OptimizationUsed": "1",
        "Runs": "5",
    }
    whole = one({**about, "SourceCode": "{" + json.dumps(STANDARD) + "}"})
    assert whole.compiled == TOLD
    files = one({**about, "SourceCode": json.dumps(STANDARD["sources"])})
    assert files.compiled == {"version": "0.8.24", "runs": 5, "via_ir": False}
    assert set(files.texts) == set(whole.texts)


def test_sourcify_in_its_forms() -> None:
    compilation = {
        "language": "Solidity",
        "compiler": "solc",
        "compilerVersion": "0.8.24+commit.e11b9ed9",
        "compilerSettings": STANDARD["settings"],
        "fullyQualifiedName": "src/User.sol:User",
    }
    assert one({"compilation": compilation, "sources": STANDARD["sources"]}).compiled == TOLD
    assert one({"compilation": compilation, "stdJsonInput": STANDARD}).compiled == TOLD
    metadata = {
        "compiler": {"version": "0.8.24+commit.e11b9ed9"},
        "language": "Solidity",
        "settings": STANDARD["settings"],
        "sources": {name: {"keccak256": "0x"} for name in STANDARD["sources"]},
    }
    files = [{"name": "metadata.json", "path": "1/0x/metadata.json", "content": json.dumps(metadata)}]
    files += [
        {"name": name.rpartition("/")[2], "path": f"1/0x/sources/{name}", "content": part["content"]}
        for name, part in STANDARD["sources"].items()
    ]
    first = one({"status": "full", "files": files})
    assert first.compiled == TOLD
    assert set(first.texts) == set(STANDARD["sources"])
    texts = {name: part["content"] for name, part in STANDARD["sources"].items()}
    assert exports.from_metadata(metadata, texts, "m").compiled == TOLD
    with pytest.raises(NotRead, match="not beside"):
        exports.from_metadata(metadata, {}, "m")


@pytest.mark.parametrize(
    "values",
    [
        {"abi": [], "bytecode": "0x"},
        {"input": {"language": "Vyper", "sources": {"a.vy": {"content": "x"}}}},
        {"language": "Yul", "sources": {"a.yul": {"content": "{}"}}},
        {"SourceCode": "", "CompilerVersion": "v0.8.0"},
        {"SourceCode": [TOKEN], "CompilerVersion": "v0.8.0"},
        {"SourceCode": "x: uint256", "CompilerVersion": "vyper:0.3.7"},
        {"SourceCode": "{{not json}}", "CompilerVersion": "v0.8.0"},
        {"SourceCode": "{[1]}", "CompilerVersion": "v0.8.0"},
        {"sources": {"a.sol": {"urls": ["ipfs://"]}}},
        {"sources": {"a.sol": {"content": 7}}},
        {"files": []},
        {"files": [3, {"name": "a.sol"}]},
        {"sources": {"a.sol": {"content": "\ud800"}}},
        {"sources": {"a\ud800.sol": {"content": TOKEN}}},
        [],
        {"compilation": {"language": "Vyper"}, "sources": {}},
        3,
        "text",
    ],
)
def test_what_gives_no_project_says_why(values: Any) -> None:
    with pytest.raises(NotRead):
        exports.project(values, "x.json")


def test_what_a_project_lacks_is_named() -> None:
    sources = {
        "A.sol": {"content": TOKEN},
        "B.sol": {"urls": ["ipfs://"]},
        "C.sol": 3,
        "D\ud800.sol": {"content": TOKEN},
        "E.sol": {"content": "// \udfff"},
    }
    project = one({"sources": sources, "settings": {"remappings": ["\ud800/=\ud801/", [], 3]}})
    assert project.own == ("A.sol",)
    assert project.unread == {
        "B.sol": (NO_CONTENT, ""),
        "C.sol": (NO_CONTENT, ""),
        "D\ud800.sol": (NO_TEXT, ""),
        "E.sol": (NO_TEXT, ""),
    }
    files = [
        {"name": "metadata.json", "content": json.dumps({"sources": {"A.sol": {}, "B.sol": {}}})},
        {"name": "A.sol", "path": "1/0x/sources/A.sol", "content": TOKEN},
        {"name": "C.sol", "path": "1/0x/sources/C.sol", "content": TOKEN},
        {"name": "constructor-args.txt", "path": "1/0x/constructor-args.txt", "content": "0x"},
    ]
    project = one({"files": files})
    assert project.own == ("A.sol",)
    assert project.unread == {"B.sol": (NO_CONTENT, ""), "C.sol": (NOT_LISTED, "")}


def test_names_and_words_of_others_can_be_written_anywhere() -> None:
    told = {
        "SourceCode": TOKEN,
        "ContractName": "A\ud800\n",
        "CompilerVersion": "v0.8.19\ud800",
        "LicenseType": "\ud800",
        "EVMVersion": "\ud800",
    }
    project = one(told)
    for text in (project.name, project.licence, *project.texts):
        assert text.encode()
        assert "\n" not in text
    assert place(project, "default")
    (chunk,) = chunks(project, "default").chunks
    assert chunk.settings.name == "0.8.19-off"


@pytest.mark.parametrize("version", ["0.8." + "9" * 5000, "9" * 300_000, "0" * 5000 + ".8.19"])
def test_a_version_of_many_digits_is_not_told(version: str) -> None:
    assert one({"solcVersion": version, "input": STANDARD}).compiled.get("version") is None
    texts = {"a.sol": f"pragma solidity {version[:900]};"}
    assert chunks(Project("p", "p", texts, ("a.sol",)), "default").refused["a.sol"][0] == PRAGMA


VALUES = st.recursive(
    st.sampled_from([None, True, -1, 10**300, "", "Solidity", TOKEN, "v0.8.19+a", "{{}}", "\ud800", "a=b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "a.sol", "\ud800"]), inner)
    ),
)


@settings(deadline=None)
@given(VALUES)
def test_any_json_is_projects_or_says_why(values: Any) -> None:
    for name, entry in exports.entries(json.dumps(values).encode(), "x.json"):
        try:
            project = exports.project(entry, name)
        except NotRead:
            continue
        assert place(project, "default")
        for text in (project.name, project.licence, *project.texts, *project.texts.values()):
            assert text.encode().decode() == text
        found = chunks(project, "default")
        assert {file for chunk in found.chunks for file in chunk.files} | {*found.refused} == {*project.own}


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500]
)
def test_what_is_no_json_says_why(raw: bytes) -> None:
    with pytest.raises(NotRead):
        exports.entries(raw, "x.json")


@pytest.mark.parametrize(
    "told",
    [None, 3, {"optimizer": 1}, {"optimizer": {"enabled": "yes", "runs": -1}}, {"evmVersion": ["x"]}],
)
def test_odd_settings_mean_not_told(told: Any) -> None:
    project = one({"sources": {"a.sol": {"content": TOKEN}}, "settings": told})
    assert not project.compiled.get("runs")
    assert "evm_version" not in project.compiled


ON = {"enabled": True, "runs": 200}
MET = [  # settings of the export; what is told of them
    ({}, {"runs": None}),
    ({"optimizer": None}, {"runs": None}),
    ({"optimizer": {"enabled": False, "runs": 7}}, {"runs": None}),
    ({"optimizer": {"enabled": True}}, {"runs": 200}),
    ({"optimizer": {**ON, "details": {}}}, {"runs": 200}),
    (
        {"optimizer": {**ON, "details": {"yul": True, "cse": True, "yulDetails": {"stackAllocation": True}}}},
        {"runs": 200},
    ),
    (
        {"optimizer": ON, "viaIR": True, "evmVersion": "paris"},
        {"runs": 200, "via_ir": True, "evm_version": "paris"},
    ),
    (
        {
            "optimizer": ON,
            "metadata": {"bytecodeHash": "none", "appendCBOR": False},
            "debug": {"revertStrings": "default", "debugInfo": ["location"]},
            "libraries": {},
            "outputSelection": {"*": {"*": ["*"]}},
            "compilationTarget": {"A.sol": "A"},
            "eofVersion": None,
            "remappings": ["a/=b/"],
        },
        {"runs": 200},
    ),
]
UNMET = [
    ({"optimizer": {**ON, "details": {"yul": False}}}, {"runs": 200}),
    ({"optimizer": {**ON, "details": {"yulDetails": {"optimizerSteps": "dhfo"}}}}, {"runs": 200}),
    ({"optimizer": {"enabled": False, "details": {"yul": True}}}, {"runs": None}),
    ({"optimizer": {"details": {"deduplicate": True, "yul": False}, "runs": 9}}, {"runs": 9}),
    ({"optimizer": {"details": {"deduplicate": False, "peephole": True}}}, {"runs": None}),
    ({"optimizer": {"runs": 9}}, {"runs": None}),
    ({"optimizer": ON, "debug": {"revertStrings": "strip"}}, {"runs": 200}),
    ({"optimizer": ON, "debug": {"revertStrings": "debug"}}, {"runs": 200}),
    ({"optimizer": ON, "libraries": {"A.sol": {"L": "0x" + "11" * 20}}}, {"runs": 200}),
    ({"optimizer": ON, "eofVersion": 1}, {"runs": 200}),
    ({"optimizer": ON, "viaSSACFG": True}, {"runs": 200}),
]


def in_each_form(settings: dict[str, Any]) -> Iterator[Project]:
    """What tells such settings to the compiler 0.8.30."""
    sources = {"A.sol": {"content": TOKEN}}
    version = "0.8.30+commit.73712a01"
    standard = {"language": "Solidity", "sources": sources, "settings": settings}
    compilation = {"language": "Solidity", "compilerVersion": version, "compilerSettings": settings}
    metadata = {
        "compiler": {"version": version},
        "language": "Solidity",
        "settings": settings,
        "sources": {"A.sol": {}},
    }
    yield one({"solcVersion": "0.8.30", "input": standard})
    yield one({**standard, "compiler": {"version": version}})
    yield one({"compilation": compilation, "sources": sources})
    yield one({"compilation": compilation, "stdJsonInput": standard})
    yield one({"SourceCode": "{" + json.dumps(standard) + "}", "CompilerVersion": f"v{version}"})
    yield exports.from_metadata(metadata, {"A.sol": TOKEN}, "m")


@pytest.mark.parametrize(
    ("settings", "told", "unmet"),
    [*((*case, False) for case in MET), *((*case, True) for case in UNMET)],
)
def test_what_an_export_tells_is_obeyed_or_named(
    settings: dict[str, Any], told: dict[str, Any], unmet: bool
) -> None:
    for project in in_each_form(settings):
        expected = {"version": "0.8.30", "via_ir": False, **told, **({"unmet": True} if unmet else {})}
        assert project.compiled == expected, project.name
        found = chunks(project, "default")
        assert found.otherwise == ({"A.sol": [OWN_SETTINGS]} if unmet else {})
        (chunk,) = found.chunks
        assert chunk.settings == Settings("0.8.30", **told)
        assert not chunks(project, "runs200").otherwise, (
            "a build of the recipe's own asks for no more than it says"
        )


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.5.17", "0.8.30"])
@pytest.mark.parametrize(("settings", "told"), MET[:-1])
def test_what_counts_as_obeyed_gives_the_same_code(
    settings: dict[str, Any], told: dict[str, Any], version: str
) -> None:
    """With a compiler."""
    if version == "0.5.17" and told.get("via_ir"):
        return
    text = (
        "contract A { function f(uint a) public pure returns (uint) { require(a > 1, 'x'); return a + 1; } }"
    )
    code = {"outputSelection": {"*": {"*": ["evm.deployedBytecode.object"]}}}
    given = {key: value for key, value in settings.items() if value is not None}
    made = [
        compile_standard(
            version,
            {"language": "Solidity", "sources": {"A.sol": {"content": text}}, "settings": one | code},
        )["contracts"]
        for one in (given, Settings(version, **told).standard())
    ]
    objects = [one["A.sol"]["A"]["evm"]["deployedBytecode"]["object"] for one in made]
    assert (
        objects[0].partition("a265")[0].partition("a264")[0]
        == objects[1].partition("a265")[0].partition("a264")[0]
    )


def test_where_nothing_is_told_of_settings_metadata_and_sourcify_mean_nothing() -> None:
    """A standard-JSON input without settings is one without optimiser; metadata without them is not the compiler's."""
    sources = {"A.sol": {"content": TOKEN}}
    assert one({"sources": sources}).compiled == {"runs": None, "via_ir": False}
    assert one({"solcVersion": "0.8.30", "input": {"sources": sources}}).compiled["runs"] is None
    assert exports.from_metadata({"sources": sources}, {}, "m").compiled == {}
    compilation = {"compilerVersion": "0.8.30"}
    assert one({"compilation": compilation, "sources": sources}).compiled == {"version": "0.8.30"}


def test_fields_of_etherscan_tell_what_its_input_does_not() -> None:
    about = {"CompilerVersion": "v0.8.30", "OptimizationUsed": "1", "Runs": "5", "Library": ""}
    standard = {"sources": {"A.sol": {"content": TOKEN}}, "settings": {"evmVersion": "paris"}}
    inner = one({**about, "SourceCode": "{" + json.dumps(standard) + "}"})
    assert inner.compiled == {"version": "0.8.30", "runs": 5, "via_ir": False, "evm_version": "paris"}
    for odd in (None, 3):
        nothing = {**standard, "settings": odd}
        found = one({**about, "SourceCode": "{" + json.dumps(nothing) + "}"}).compiled
        assert found == {"version": "0.8.30", "runs": 5, "via_ir": False}
    linked = one({**about, "SourceCode": TOKEN, "Library": "L:" + "11" * 20})
    assert linked.compiled["unmet"]


def test_yul_is_not_taken_by_every_optimiser() -> None:
    settings = {"optimizer": {**ON, "details": {"yul": True}}}
    for version, unmet in (("0.5.17", True), ("", True), ("0.6.12", None), ("0.8.30", None)):
        given = {"sources": {"A.sol": {"content": "contract A { }"}}, "settings": settings}
        assert one({"solcVersion": version, "input": given}).compiled.get("unmet") is unmet


def test_a_folder_of_foundry_obeys_its_remappings() -> None:
    files = {
        "foundry.toml": b'[profile.default]\nremappings = ["@lib/=lib/token/src/"]\n',
        "remappings.txt": b"other/=lib/other/\n",
        "src/User.sol": b'import "@lib/Token.sol";\nimport "other/O.sol";\nimport "inferred/I.sol";\n',
        "src/Bad.sol": b"\xff\xfe",
        "test/User.t.sol": b"contract T {}",
        "lib/token/src/Token.sol": TOKEN.encode(),
        "lib/other/O.sol": b"",
        "lib/inferred/src/I.sol": b"",
    }
    project = from_folder("p", files)
    assert project.own == ("src/User.sol",)
    assert project.unread == {"src/Bad.sol": (NO_TEXT, "")}
    for name in ("lib/token/src/Token.sol", "lib/other/O.sol", "lib/inferred/src/I.sol"):
        assert name in project.texts
        assert f'"{name}"' in project.texts["src/User.sol"]
    assert from_folder("p", files, tests=True).own == ("src/User.sol", "test/User.t.sol")


@pytest.mark.parametrize(
    "toml",
    [
        b"a=" + b"[" * 20_000,
        b"a=" + b"9" * 5000,
        b"a" + b".a" * 300_000 + b"=1",
        b"#" * (2**20 + 1),
        b"a",
        b"profile = 3",
        b"[profile]\ndefault = []",
        b'[profile.default]\nremappings = "@lib/=lib/"',
    ],
)
def test_settings_of_foundry_that_cannot_be_read_are_named(toml: bytes) -> None:
    files = {"foundry.toml": toml, "remappings.txt": b"a/=b/", "A.sol": b'import "a/A.sol";', "b/A.sol": b""}
    project = from_folder("p", files)
    assert project.own == ("A.sol", "b/A.sol")
    assert '"b/A.sol"' in project.texts["A.sol"]
    assert [(file, reason) for file, (reason, _) in project.unread.items()] == [("foundry.toml", NO_SETTINGS)]


def test_a_file_whose_name_is_no_text_is_named() -> None:
    name = os.fsdecode(b"\xff.sol")
    project = from_folder("p", {name: b"", "A.sol": b""})
    assert project.own == ("A.sol",)
    assert project.unread == {name: (NO_TEXT, "")}


def test_a_file_of_a_dependency_that_is_no_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, files in {
        "mine": {"A.sol": b"contract A {}"},
        "other": {"B.sol": b"", "C.sol": b"\xff"},
    }.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
    monkeypatch.setattr(
        projects, "package", lambda name, version: Package(name, version, tmp_path / name, "", False)
    )
    of_package = projects.from_npm("mine@1.0.0", ["alias=other@1.0.0"])
    of_folder = from_folder("p", {"A.sol": b"contract A {}"}, ["alias=other@1.0.0"])
    assert (of_package.own, of_folder.own) == (("mine/A.sol",), ("A.sol",))
    for project in (of_package, of_folder):
        assert project.unread == {"alias/C.sol": (NO_TEXT, "")}
        assert "alias/B.sol" in project.texts


def test_a_dependency_replaces_no_file_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that both have, such as of two versions of one package, means the project's own."""
    for version in ("1.0.0", "2.0.0"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "A.sol").write_text(f"// {version}")
        (tmp_path / version / f"{version[0]}.sol").write_text("")
    monkeypatch.setattr(
        projects, "package", lambda name, version: Package(name, version, tmp_path / version, "", False)
    )
    project = projects.from_npm("p@2.0.0", ["p@1.0.0"])
    assert project.texts == {"p/1.sol": "", "p/2.sol": "", "p/A.sol": "// 2.0.0"}
    assert project.own == ("p/2.sol", "p/A.sol")
    folder = from_folder("f", {"p/A.sol": b"// mine"}, ["p@1.0.0"])
    assert folder.texts == {"p/A.sol": "// mine", "p/1.sol": ""}


def test_a_line_ends_where_the_compiler_ends_it() -> None:
    """A "\r" alone ends a comment there; what stands behind it is code."""
    project = from_folder("p", {"A.sol": b"// 1\rcontract A { }\r\n// 2"})
    assert project.texts == {"A.sol": "// 1\ncontract A { }\n// 2"}
    told = one({"language": "Solidity", "sources": {"A.sol": {"content": "// 1\rcontract A { }"}}})
    assert told.texts == {"A.sol": "// 1\ncontract A { }"}


def test_sourcify_of_files_below_a_folder_that_is_called_sources() -> None:
    listed = {"contracts/sources/Oracle.sol": {}, "sources/A.sol": {}}
    metadata = {"language": "Solidity", "compiler": {"version": "0.8.24"}, "sources": listed}
    files = [{"name": "metadata.json", "content": json.dumps(metadata)}]
    files += [
        {"name": "x", "path": f"contracts/full/0xab/sources/{name}", "content": TOKEN} for name in listed
    ]
    project = one({"files": files})
    assert set(project.texts) == set(listed)
    assert not project.unread


def test_the_longest_prefix_wins_and_a_context_is_kept_to() -> None:
    texts = {"a/x.sol": 'import "p/q/z.sol";', "b/y.sol": 'import { A } from "p/q/z.sol";'}
    found = remapped(texts, ["p/=one/", "p/q/=two/", "b/:p/=three/", "nothing", "=x"])
    assert found == {"a/x.sol": 'import "two/z.sol";', "b/y.sol": 'import { A } from "three/q/z.sol";'}


def test_every_file_goes_to_one_compiler_or_is_refused_by_name() -> None:
    texts = {
        **dict.fromkeys(("new.sol", "newer.sol", "newest.sol"), "pragma solidity ^0.8.0;"),
        "old.sol": "pragma solidity ^0.4.24;",
        "both.sol": 'pragma solidity >=0.6.0;\nimport "./six.sol";',
        "six.sol": "pragma solidity ^0.6.0;",
        "pinned.sol": "pragma solidity 0.8.10;",
        "odd.sol": "pragma solidity latest;",
        "ancient.sol": "pragma solidity ^0.3.0;",
        "lonely.sol": 'pragma solidity ^0.8.0;\nimport "nowhere.sol";',
        "none.sol": "contract A {}",
    }
    found = chunks(Project("p", "p", texts, tuple(texts)), "default")
    where = {file: chunk.settings.version for chunk in found.chunks for file in chunk.files}
    assert where["new.sol"] == where["none.sol"] == "0.8.30"
    assert (where["old.sol"], where["both.sol"], where["six.sol"]) == ("0.4.26", "0.6.12", "0.6.12")
    assert found.otherwise == {"pinned.sol": [NEAREST]}
    assert {file: reason for file, (reason, _) in found.refused.items()} == {
        "odd.sol": PRAGMA,
        "ancient.sol": NO_COMPILER,
        "lonely.sol": IMPORT,
    }
    (both,) = [chunk for chunk in found.chunks if "both.sol" in chunk.files]
    assert set(both.texts) == {"both.sol", "six.sol"}


def test_builds_that_a_compiler_has_not() -> None:
    project = Project("p", "p", {"a.sol": "pragma solidity ^0.7.0;"}, ("a.sol",))
    assert not chunks(project, "runs200-ir").chunks
    assert chunks(project, "off-noinline").refused["a.sol"][0] == NO_SETTING
    (chunk,) = chunks(project, "off", solc="0.8.19").chunks
    assert (chunk.settings.name, chunk.settings.runs) == ("0.8.19-off", None)


def test_what_an_export_says_is_the_default() -> None:
    project = one({"solcVersion": "0.8.24", "input": STANDARD})
    project = Project("p", "p", {"a.sol": TOKEN}, ("a.sol",), compiled=project.compiled)
    (chunk,) = chunks(project, "default").chunks
    assert chunk.settings.name == "0.8.24-runs999-ir-cancun"
    (chunk,) = chunks(project, "runs1").chunks
    assert chunk.settings.name == "0.8.24-runs1"


@pytest.mark.parametrize(
    ("version", "evm_version", "compiled", "kept", "otherwise"),
    [
        ("0.8.19", "paris", "0.8.19", "paris", []),
        ("0.8.20", "shanghai", "0.8.24", "shanghai", [NEAREST]),
        ("0.8.7", "london", "0.8.13", "london", [NEAREST]),
        ("0.8.30", "osaka", "0.8.30", "", [OWN_EVM]),
        ("0.8.30", "no such thing", "0.8.30", "", [OWN_EVM]),
        ("0.8.31", "prague", "0.8.30", "prague", [NEAREST]),
        ("0.4.25", "london", "0.4.26", "", [NEAREST, OWN_EVM]),
    ],
)
def test_what_an_export_asks_for_is_compiled_by_a_compiler_that_knows_it(
    version: str, evm_version: str, compiled: str, kept: str, otherwise: list[str]
) -> None:
    told = {"version": version, "runs": 200, "evm_version": evm_version}
    found = chunks(Project("p", "p", {"a.sol": "contract A {}"}, ("a.sol",), compiled=told), "default")
    (chunk,) = found.chunks
    assert (chunk.settings.version, chunk.settings.evm_version) == (compiled, kept)
    assert found.otherwise == ({"a.sol": otherwise} if otherwise else {})
    assert not found.refused


def test_only_pragmas_are_taken_for_pragmas() -> None:
    text = """// a pragma solidity reader knows: order matters
pragma solidity
    ^0.8.0;
contract A {
    /* pragma solidity 0.4.0; */
    uint a; // pragma solidity 0.4.1
    string s = "pragma solidity 0.4.2; \\" //";
    string u = unicode'// pragma solidity 0.4.3;';
    // it's
    uint b;
}
"""
    assert for_any_version(text) == text.replace("pragma solidity\n    ^0.8.0;", ANY_VERSION)
    assert pragmas(text) == ["^0.8.0"]


def test_imports_wherever_a_statement_begins() -> None:
    text = 'pragma solidity ^0.8.0; import "a.sol"; import {B} from "./b.sol";\n  import * as C\n from \'c.sol\';'
    assert imports("x/y.sol", text) == ["a.sol", "x/b.sol", "c.sol"]
    assert (
        imports("y.sol", '// import "a.sol";\ncontract A { string s = "import x"; } // import "b.sol";') == []
    )


@pytest.mark.parametrize(
    "piece", ["/*", '"\\"', "'", "pragma solidity ", "import ", "\n", "import x\n", "//", '"/*']
)
def test_reading_takes_linear_time_whatever_stands_there(piece: str) -> None:
    text = piece * 200_000
    assert for_any_version(text) == text
    assert pragmas(text) == imports("a", text) == []


def test_a_file_that_allows_much_goes_with_most_of_its_project() -> None:
    texts = {
        "Pool.sol": 'pragma solidity =0.7.6;\nimport "./Math.sol";',
        "Factory.sol": "pragma solidity =0.7.6;",
        "Math.sol": "pragma solidity >=0.5.0;",
        "Any.sol": "library Any {}",
        "New.sol": "pragma solidity ^0.8.0;",
    }

    def where(*names: str) -> dict[str, str]:
        found = chunks(Project("p", "p", texts, names), "default")
        assert not found.otherwise
        return {file: chunk.settings.version for chunk in found.chunks for file in chunk.files}

    assert where(*texts) == {name: "0.8.30" if name == "New.sol" else "0.7.6" for name in texts}
    assert where("Math.sol", "Any.sol") == {"Math.sol": "0.8.30", "Any.sol": "0.8.30"}
    assert where("Math.sol", "Pool.sol", "New.sol")["Math.sol"] == "0.8.30", "of equals the newest"
