"""Sources, harnesses and the remembered compiler; what needs a compiler is slow, and fetches it the first time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.evm.fixtures import HERE, fixtures
from whet.errors import WhetError
from whet.evm.solc import compiler, harness
from whet.evm.solc.compiler import CompileError, Settings, compile_sources, compile_standard
from whet.evm.solc.harness import Exposed, Harness, compile_package, reason_of
from whet.evm.solc.sources import closure, imports
from whet.evm.solc.srcmap import walk
from whet.evm.solc.truth import OUTPUTS, definitions, truth
from whet.evm.solc.worker import CompilerFailure


class Asked:
    """A compiler that answers with what it was asked."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    def ask(self, text: str) -> dict[str, Any]:
        self.requests.append(text)
        return {"errors": [], "asked": len(self.requests)}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path))
    found = Asked()
    monkeypatch.setattr(compiler, "_worker", lambda version: found)
    return found


def test_an_output_is_remembered_by_version_and_input(asked: Asked, tmp_path: Path) -> None:
    request = {"language": "Solidity", "sources": {"a.sol": {"content": "contract A {}"}}}
    first = compile_standard("0.8.30", request)
    assert compile_standard("0.8.30", dict(reversed(request.items()))) == first
    assert compile_standard("0.8.19", request) != first
    assert len(asked.requests) == 2
    for kept in tmp_path.rglob("*.json.zst"):
        kept.write_bytes(b"damaged")
    assert compile_standard("0.8.30", request)["asked"] == 3


def test_a_file_that_the_compiler_fails_with_takes_no_other_along(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {f"{name}.sol": f"contract {name} {{ }}" for name in "ABCDEFGH"}
    texts["Uses.sol"] = 'import "./C.sol";'

    def compiled(settings: Settings, sources: dict[str, str], selection: Any) -> dict[str, Any]:
        if "C.sol" in sources:
            raise CompilerFailure("the compiler crashed: RangeError")
        if "F.sol" in sources:
            raise CompileError("0.8.30", ["Stack too deep."])
        if "H.sol" in sources:
            raise CompileError("0.8.30", ["H.sol:1: ParserError: no."])
        return {"sources": {name: {"of": name} for name in sources}}

    monkeypatch.setattr(harness, "compile_sources", compiled)
    lost: list[harness.Lost] = []
    found = list(harness.analysed(list(texts), texts, Settings("0.8.30"), lost))
    assert sorted(name for _, those in found for name in those) == [
        "A.sol",
        "B.sol",
        "D.sol",
        "E.sol",
        "G.sol",
    ]
    assert all(set(those) <= asts.keys() for asts, those in found)
    assert {one.file: one.reason for one in lost} == {
        "C.sol": "the compiler crashed: RangeError",
        "Uses.sol": "the compiler crashed: RangeError",
        "F.sol": "stack too deep",
        "H.sol": "ParserError: no.",
    }
    assert len(lost) == 4


def test_neither_remembered_nor_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path))

    def missing(name: str, version: str) -> None:
        raise WhetError(f"{name}@{version} is not in the cache and cannot be installed")

    monkeypatch.setattr(compiler, "package", missing)
    monkeypatch.setattr(compiler, "_workers", {})
    with pytest.raises(WhetError, match=r"solc@0\.8\.30 is not in the cache"):
        compile_standard("0.8.30", {})


def test_errors_say_file_and_line() -> None:
    sources = {"a.sol": "// ä\ncontract A {\n  uint x\n}\n"}
    place = {"file": "a.sol", "start": len("// ä\ncontract A {\n  uint x\n".encode()), "end": 0}
    output = {
        "errors": [
            {"severity": "warning", "message": "no licence"},
            {"severity": "error", "message": "Expected ';'", "sourceLocation": place},
            {"severity": "error", "formattedMessage": "Stack too deep"},
        ]
    }
    assert compiler.errors(output, sources) == ["a.sol:4: Expected ';'", "Stack too deep"]


def test_settings_have_names_and_stay_at_prague() -> None:
    assert Settings("0.8.30").name == "0.8.30-runs200"
    assert Settings("0.8.30", None, True, "paris").name == "0.8.30-off-ir-paris"
    assert "evmVersion" not in Settings("0.8.30").standard()
    assert Settings("0.8.35").standard()["evmVersion"] == "prague"
    assert Settings("0.8.35", evm_version="osaka").standard()["evmVersion"] == "osaka"


def test_imports() -> None:
    text = """
    // import "./no.sol";
    /* import "./no2.sol"; */
    import "./b.sol";
    import {X as Y, Z} from "../c/d.sol";
    import * as All from '@pkg/e.sol';
      import "f.sol" as F;
    string constant s = "//"; // import "no3.sol";
    contract A { string t = 'import "./no4.sol";'; }
    """
    assert imports("p/src/a.sol", text) == ["p/src/b.sol", "p/c/d.sol", "@pkg/e.sol", "f.sol"]


@pytest.mark.parametrize(
    ("importer", "path", "found"),
    [
        ("https://x.org/r/contracts/ERC20.sol", "./IERC20.sol", "https://x.org/r/contracts/IERC20.sol"),
        ("https://x.org/r/contracts/ERC20.sol", "../utils//./Math.sol", "https://x.org/r/utils/Math.sol"),
        ("a//b.sol", "./c.sol", "a/c.sol"),
        ("/a/b.sol", "../c.sol", "/c.sol"),
        ("/b.sol", "./c.sol", "/c.sol"),
        ("/b.sol", "../c.sol", "c.sol"),
        ("a/b.sol", "../../../c.sol", "c.sol"),
        ("b.sol", "./x/../c.sol", "c.sol"),
        ("b.sol", "https://x.org//c.sol", "https://x.org//c.sol"),
    ],
)
def test_relative_imports(importer: str, path: str, found: str) -> None:
    assert imports(importer, f'import "{path}";') == [found]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.4.26", "0.6.12", "0.8.30"])
@pytest.mark.parametrize(
    ("importer", "path"),
    [
        ("https://x.org/r/a/b.sol", "./c.sol"),
        ("https://x.org/r/a/b.sol", "../u/./c.sol"),
        ("a/b.sol", "../c.sol"),
        ("p/a/b.sol", "./d/../../c.sol"),
        ("/a/b.sol", "../c.sol"),
        ("/b.sol", "./c.sol"),
        ("/b.sol", "../c.sol"),
        ("/p/a/b.sol", "../../c.sol"),
        ("/p/b.sol", "../../c.sol"),
        ("//b.sol", "./c.sol"),
    ],
)
def test_relative_imports_are_the_compiler_s(version: str, importer: str, path: str) -> None:
    (found,) = imports(importer, f'import "{path}";')
    texts = {importer: f'import "{path}"; contract B is C {{}}', found: "contract C {}"}
    output = compile_sources(Settings(version), texts, {"*": {"": ["ast"]}})
    assert set(output["sources"]) == {importer, found}


@pytest.mark.parametrize(
    ("slow", "asked", "lost", "kept"),
    [("", 2, [""], []), ("f9", 9, ["f9"], [63])],
    ids=["contract", "function"],
)
def test_a_contract_that_the_compiler_fails_with_is_not_halved(
    slow: str, asked: int, lost: list[str], kept: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failure can take minutes; where it is not for one of the functions made callable, one more is enough."""
    functions = tuple(Exposed(f"f{i}", f"function f{i}() {{}}") for i in range(64))
    one = Harness("a.sol", "L", "wrapper", "W", ("contract W {\n", "}\n"), functions)
    failures = 0

    def compiled(harnesses: list[Harness], *_: Any) -> list[tuple[Harness, dict[str, Any]]]:
        nonlocal failures
        if not slow or any(exposed.name == slow for exposed in harnesses[0].functions):
            failures += 1
            raise CompilerFailure("the compiler takes more than 300 s")
        return [(harnesses[0], {})]

    monkeypatch.setattr(harness, "compile_harnesses", compiled)
    into = harness.Compiled()
    harness.compile_together([one], {}, Settings("0.8.30"), into)
    assert failures <= asked
    assert [(gone.function, gone.reason) for gone in into.lost] == [
        (name, "the compiler takes more than 300 s") for name in lost
    ]
    assert [len(harness.functions) for harness, _ in into.contracts] == kept


def test_closure() -> None:
    texts = {"a.sol": 'import "b.sol";', "b.sol": 'import "a.sol"; \nimport "gone.sol";', "c.sol": ""}
    needed, missing = closure(["a.sol"], texts)
    assert sorted(needed) == ["a.sol", "b.sol"]
    assert missing == ["gone.sol"]


def test_reasons_can_be_counted() -> None:
    assert reason_of('a/b.sol:12: Undeclared identifier. Did you mean "x"?') == "Undeclared identifier"
    assert reason_of("Compiler error: Stack too deep, try removing local variables.") == "stack too deep"
    assert reason_of('a.sol:1: Type "x" is not "y".') == 'Type ".." is not "..".'


def test_functions_that_an_error_points_at_are_left_out() -> None:
    functions = (
        Exposed("f", "uint s;\nfunction f() {}"),
        Exposed("g", "function g() {}"),
        Exposed("h", "function h() {}"),
    )
    one = Harness("a.sol", "L", "wrapper", "W", ("head\ncontract W {\n", "}\n"), functions)
    lost: list[harness.Lost] = []
    rest = harness._without(
        one, [f"{one.path}:4: Bad type.", f"{one.path}:6: Worse.", "other.sol:5: Not ours."], lost
    )
    assert rest is not None
    assert [exposed.name for exposed in rest.functions] == ["g"]
    assert [(entry.function, entry.reason) for entry in lost] == [("f", "Bad type."), ("h", "Worse.")]
    assert harness._without(one, [f"{one.path}:1: All bad."], lost) is None
    assert harness._without(one, ["Stack too deep"], lost) is one


LIBRARY = """pragma solidity >=0.4.22;
contract Base {
    uint256 public kept;
    constructor(uint256 start, address who) WHO { kept = start + uint160(who); }
    function missing(uint256 a, string memory b) public view VIRTUAL returns (uint256, bytes32);
    function hidden(uint256 a) internal returns (uint256) { kept += a; return kept; }
    function used() public view returns (uint256 x) { (x, ) = missing(1, "a"); }
}
library Lists {
    struct List { uint256[] values; mapping(uint256 => bool) has; }
    struct Pair { uint256 a; bytes b; }
    function add(List storage list, uint256 x) internal returns (bool) {
        if (list.has[x]) return false;
        list.has[x] = true;
        list.values.push(x);
        return true;
    }
    function add(List storage list, uint256 x, uint256 y) internal { add(list, x); add(list, y); }
    function total(uint256[] memory v, Pair memory p) internal pure returns (uint256 sum) {
        for (uint256 i = 0; i < v.length; i++) sum += v[i];
        sum += p.a + p.b.length;
    }
    function apply_(function (uint256) pure returns (uint256) f, uint256 x) internal pure returns (uint256) { return f(x); }
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.4.26", "0.5.17", "0.6.12", "0.7.6", "0.8.30"])
def test_everything_internal_reaches_bytecode(version: str) -> None:
    settings = Settings(version, runs=None)
    old = settings.number < (0, 6, 0)
    text = LIBRARY if old else LIBRARY.replace("contract Base", "abstract contract Base")
    text = text.replace("VIRTUAL", "" if old else "virtual")
    text = text.replace("WHO", "internal" if settings.number < (0, 7, 0) else "")
    found = compile_package({"p/a.sol": text}, ["p/"], settings)
    assert {known.subject: known.kind for known, _ in found.contracts} == {
        "Base": "subclass",
        "Lists": "wrapper",
    }
    names = {entry["name"] for _, known in found.contracts for entry in known["entries"]}
    assert names >= {"hidden", "add", "total"} - ({"hidden"} if old and version < "0.5" else set())
    assert [(lost.function, lost.reason) for lost in found.lost] == [
        ("apply_", "a pointer to a function among its types")
    ]


@pytest.mark.slow
def test_one_harness_that_fails_spoils_no_other() -> None:
    deep = "uint256 a1, uint256 a2, uint256 a3, uint256 a4, uint256 a5, uint256 a6, uint256 a7, uint256 a8, uint256 a9"
    locals_ = "".join(f"uint256 b{i} = a{i % 9 + 1} + 1; " for i in range(9))
    body = f"{locals_} return {' * '.join(f'b{i} * a{i % 9 + 1}' for i in range(9))};"
    text = f"""
    library Deep {{
        function fine(uint256 x) internal pure returns (uint256) {{ return x / 2; }}
        function deep({deep}) internal pure returns (uint256) {{ {body} }}
        function good(uint256 x) internal pure returns (uint256) {{ return x * 2; }}
    }}
    library Other {{ function f(uint256 x) internal pure returns (uint256) {{ return x + 1; }} }}
    """
    found = compile_package({"p/a.sol": text}, ["p/"], Settings("0.8.30", runs=None))
    assert [harness.subject for harness, _ in found.contracts] == ["Deep", "Other"]
    assert [(lost.contract, lost.function, lost.reason) for lost in found.lost] == [
        ("Deep", "deep", "stack too deep")
    ]


@pytest.mark.slow
def test_a_source_that_is_wrong_is_lost_with_its_reason() -> None:
    texts = {
        "p/a.sol": "contract A { uint x }",
        "p/b.sol": "contract B { uint x; }",
        "p/c.sol": 'import "./d.sol";',
    }
    found = compile_package(texts, ["p/"], Settings("0.8.30"))
    assert [harness.subject for harness, _ in found.contracts] == ["B"]
    assert {lost.file: lost.reason for lost in found.lost} == {
        "p/a.sol": "Expected ';' but got '}'",
        "p/c.sol": "imports what is not there: p/d.sol",
    }


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.5.17", "0.8.30"])
def test_variables_that_code_uses(version: str) -> None:
    slot = "x.slot" if version == "0.8.30" else "x_slot"
    text = f"""contract A {{
        uint256 gap; uint256 made; uint256 read; uint256 public shown; uint256 x; uint256 checked;
        constructor() public {{ made = 1; }}
        modifier m() {{ require(checked == 0); _; }}
        function f() public m returns (uint256 y) {{ y = read; assembly {{ y := add(y, sload({slot})) }} }}
    }}"""
    ((_, known),) = compile_package({"p/a.sol": text}, ["p/"], Settings(version)).contracts
    used = {
        one["label"] for one in known["storage_layout"]["storage"] if one["astId"] in known["storage_used"]
    }
    assert used == {"read", "shown", "x", "checked"}


@pytest.mark.slow
def test_compile_errors_name_the_line() -> None:
    with pytest.raises(CompileError) as raised:
        compile_sources(Settings("0.4.26"), {"a.sol": "contract A {\n uint x \n}"}, {})
    assert raised.value.messages == ["a.sol:3: Expected ';' but got '}'"]


@pytest.mark.slow
def test_fixtures_are_what_the_compilers_make() -> None:
    from tests.evm.fixtures.compile import compiled

    made = {line["name"]: line for _, text in compiled() for line in map(json.loads, text.splitlines())}
    assert set(made) == {one.name for one in fixtures()}
    for one in fixtures():
        line = made[one.name]
        assert line["runtime"] == one.runtime.hex(), one.name
        assert {key: line[key] for key in one.truth} == one.truth, one.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [Settings("0.8.19"), Settings("0.8.30", None), Settings("0.8.30", via_ir=True)], ids=str
)
@pytest.mark.parametrize("name", ["Loops", "Token", "Modern"])
def test_entries_by_the_map_are_those_of_the_debug_data(name: str, settings: Settings) -> None:
    sources = {"a.sol": (HERE / "sources" / f"{name}.sol").read_text("utf-8")}
    output = compile_sources(settings, sources, {"*": {"*": OUTPUTS, "": ["ast"]}})
    contract = output["contracts"]["a.sol"][name]
    known = truth(contract, definitions(output["sources"]), frozenset())
    debug = contract["evm"]["deployedBytecode"]["functionDebugData"]
    ids = {node["id"] for node in walk(output["sources"]) if node["nodeType"] == "FunctionDefinition"}
    points = {one["entryPoint"] for one in debug.values() if one["id"] in ids} - {None}
    assert {entry["pc"] for entry in known["entries"]} == points
    functions = definitions(output["sources"]).values()
    for entry in known["entries"]:
        words = {(one.words, one.return_words) for one in functions if one.name == entry["name"]}
        assert (entry["words"], entry["return_words"]) in words
