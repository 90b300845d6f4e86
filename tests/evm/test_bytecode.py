"""What is read, what is recognised in it, and what is refused with which words."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evm.fixtures import fixtures
from tests.evm.material import Compiled, compiled, one
from whet import limits
from whet.errors import CodeError
from whet.evm.bytecode import read_code
from whet.evm.constructor import deployed
from whet.evm.proxies import find_proxy

EVERY = pytest.mark.parametrize("contract", compiled(), ids=lambda contract: contract.id)
ARGUMENTS = "".join(f"{word:064x}" for word in (0x40, 0x80, 1, 0x61 << 248, 2, 7, 9))


@EVERY
def test_creation_code_gives_the_compilers_runtime_code(contract: Compiled) -> None:
    read = read_code(contract.creation)
    assert read.kind == "creation"
    assert read.runtime == read_code(contract.runtime).runtime
    assert read.runtime_offset == contract.offset
    assert "was taken" in read.notes[0]


@EVERY
def test_appended_arguments_change_nothing_but_themselves(contract: Compiled) -> None:
    read = read_code(contract.creation + ARGUMENTS)
    assert read.runtime == read_code(contract.runtime).runtime
    takes = contract.name in ("Args", "Child", "Imm")
    assert read.constructor_arguments.hex() == (ARGUMENTS if takes else "")


@EVERY
def test_runtime_code_is_never_cut(contract: Compiled) -> None:
    """Not even that of Bytes and Codes, whose fallback returns a part of their code."""
    read = read_code(contract.runtime)
    assert (read.kind, len(read.runtime)) == ("runtime", len(contract.runtime) // 2)
    assert not any("was taken" in note for note in read.notes)


@EVERY
def test_the_compiler_is_known(contract: Compiled) -> None:
    read = read_code(contract.runtime)
    version = contract.version.partition(" ")[0]
    assert read.compiler == ("solc 0.4.7 to 0.5.8" if version == "0.4.26" else f"solc {version}")
    assert read.metadata is not None
    assert read.metadata.end == len(read.runtime)
    assert read.metadata.source.startswith(("ipfs://Qm", "bzzr"))


@pytest.mark.parametrize("version", sorted({each.version for each in compiled()}))
def test_contracts_within_a_factory_are_found_whole(version: str) -> None:
    factory = read_code(one("Factory", version).runtime)
    inner = {factory.runtime[part.offset : part.offset + part.length] for part in factory.embedded}
    assert inner == {bytes.fromhex(one(name, version).creation) for name in ("Child", "Plain")}
    for part in factory.embedded:
        runtime = factory.runtime[part.runtime_offset : part.runtime_offset + part.runtime_length]
        assert runtime.hex() in {one(name, version).runtime for name in ("Child", "Plain")}
    assert factory.code_end == factory.embedded[0].offset - 1
    assert factory.runtime[factory.code_end] == (0 if version == "0.4.26" else 0xFE)


@pytest.mark.parametrize("version", ["0.7.6", "0.8.30", "0.8.30 unoptimised", "0.8.30 via-IR"])
def test_immutables_of_a_template(version: str) -> None:
    contract = one("Imm", version)
    read = read_code(contract.runtime)
    assert read.immutables == {"": contract.immutables}
    assert any(note.startswith("immutables stand as zero in 3 places") for note in read.notes)


def test_a_library_and_what_is_not_linked() -> None:
    library = read_code(one("Lib").runtime)
    assert library.is_library
    assert any("own address" in note for note in library.notes)
    factory = read_code(one("Factory", "0.4.26").runtime)
    (link,) = factory.libraries
    assert link.name == "a.sol:Lib"
    for offset in link.offsets:
        assert factory.runtime[offset - 1] == 0x73
        assert factory.runtime[offset : offset + 20].hex() == link.address[2:]
    assert "a.sol:Lib is not linked" in factory.notes[0]
    other = read_code(one("Factory", "0.4.26").runtime.replace("a.sol:Lib", "b.sol:Lib"))
    assert other.libraries[0].address != link.address


ADDRESS = "be" * 20
PROXIES = {
    "EIP-1167 minimal proxy": f"363d3d373d3d3d363d73{ADDRESS}5af43d82803e903d91602b57fd5bf3",
    "minimal proxy (0age)": f"3d3d3d3d363d3d37363d73{ADDRESS}5af43d3d93803e602a57fd5bf3",
    "EIP-7511 minimal proxy": f"365f5f375f5f365f73{ADDRESS}5af43d5f5f3e5f3d91602a57fd5bf3",
    "minimal proxy (Solady, PUSH0)": f"5f5f365f5f37365f73{ADDRESS}5af43d5f5f3e5f3d91602a57fd5bf3",
    "minimal proxy (Vyper)": f"366000600037611000600036600073{ADDRESS}5af4602c57600080fd5b6110006000f3",
    "clone with immutable arguments": f"3d3d3d3d363d3d3761002a603736393661002a013d73{ADDRESS}5af43d3d93803e603557fd5bf3",
    "EIP-7702 delegation": f"ef0100{ADDRESS}",
}


@pytest.mark.parametrize("kind", PROXIES)
def test_proxies_and_whom_they_stand_for(kind: str) -> None:
    found = read_code(PROXIES[kind]).proxy
    assert found is not None
    assert (found.kind, found.implementation) == (kind, f"0x{ADDRESS}")
    assert find_proxy(bytes.fromhex("5b" + PROXIES[kind])) is None


def test_a_proxy_to_an_address_with_leading_zeros_and_with_arguments() -> None:
    short = find_proxy(bytes.fromhex(f"363d3d373d3d3d363d70{ADDRESS[:34]}5af43d82803e903d91602857fd5bf3"))
    assert short is not None
    assert short.implementation == "0x000000" + ADDRESS[:34]
    with_more = find_proxy(bytes.fromhex(PROXIES["EIP-1167 minimal proxy"] + "0102"))
    assert with_more is not None
    assert with_more.arguments == b"\1\2"


def test_creation_code_of_a_minimal_proxy() -> None:
    proxy = PROXIES["EIP-1167 minimal proxy"]
    read = read_code(f"3d602d80600a3d3981f3{proxy}")
    assert (read.kind, read.runtime.hex()) == ("creation", proxy)


def test_code_that_returns_a_part_of_itself_when_asked_is_runtime_code() -> None:
    """CALLDATASIZE is looked at first, so this is no constructor."""
    table = "36600c57600460105f3960045ff35b5f5ff300010203"
    assert deployed(bytes.fromhex(table)) is None
    assert deployed(bytes.fromhex("6004600b5f3960045ff300" + "00010203")) is not None


def test_what_a_constructor_appends_stands_as_zero() -> None:
    """As Vyper does with immutables: 4 bytes are copied, 36 returned."""
    read = read_code("6004600f5f395f60045260245ff300" + "33331000")
    assert read.runtime.hex() == "33331000" + "00" * 32
    assert "32 bytes that the constructor appends" in read.notes[1]


def test_a_constructor_that_returns_too_much_is_none() -> None:
    for length in ("62ffffff", "6f" + "ff" * 16):
        assert (
            read_code(f"6004{'6014' if length[1] == '2' else '6021'}5f39{length}5ff300" + "33" * 40).kind
            == "runtime"
        )


def test_names_are_safe_to_show() -> None:
    text = "73__" + "\x1b[31m" + "_" * 33 + "6000"
    (link,) = read_code(text).libraries
    assert link.name.isprintable()
    with pytest.raises(CodeError) as caught:
        read_code(json.dumps({"contracts": {"a\x1b[2J": {"bin": "60"}, "b": {"bin": "61"}}}))
    assert "\x1b" not in str(caught.value)


def test_slots_tell_a_proxy() -> None:
    slot = "7f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc54"
    assert read_code(slot).hints == ("EIP-1967 implementation",)


def test_a_cut_push_is_a_note() -> None:
    read = read_code("6001630102")
    assert "at 0x2, is cut short" in read.notes[0]
    assert read_code("600163010203045b00").notes == ()


def test_a_constant_behind_the_code_is_no_argument() -> None:
    """Token's constructor copies a string of 49 bytes that the compiler put behind the runtime code."""
    token = next(one for one in fixtures("Token") if one.name == "Token-0.8.30-runs200")
    assert read_code(token.creation).runtime == token.runtime
    assert read_code(token.creation).constructor_arguments == b""


def test_creation_code_that_ends_before_its_runtime_code_is_said() -> None:
    child = one("Child")
    read = read_code(child.creation[: 2 * child.offset])
    assert read.kind == "runtime"
    assert f"bytes from {child.offset:#x} on are copied and are not there" in read.notes[0]
    assert not any("are not there" in note for each in compiled() for note in read_code(each.runtime).notes)


def test_what_is_as_long_as_an_address() -> None:
    assert "as long as an address" in read_code("0x" + "30" * 20).notes[0]
    assert read_code("30" * 21).notes == ()


def test_vyper_metadata() -> None:
    read = read_code("600035" + "a165767970657283000309000b")
    assert read.compiler == "vyper 0.3.9"
    assert read.code_end == 3


def shapes() -> dict[str, tuple[Any, str]]:
    """Artifacts of every tool: (content, name to ask for)."""
    contract, creation, runtime = one("Factory"), one("Factory").creation, one("Factory").runtime
    place = contract.runtime.index("__$") // 2
    links = {"a.sol": {"Lib": [{"start": place, "length": 20}]}}
    details = {"object": runtime, "linkReferences": links, "immutableReferences": {}}
    evm = {"bytecode": {"object": creation}, "deployedBytecode": details, "methodIdentifiers": {}}
    other = {"evm": {"bytecode": {"object": "00"}, "deployedBytecode": {"object": "00"}}}
    standard = {"contracts": {"a.sol": {"Factory": {"abi": [], "evm": evm}, "Other": other}}}
    printed = (
        f"\n======= a.sol:Factory =======\nBinary:\n{creation}\nBinary of the runtime part:\n{runtime}\n"
    )
    return {
        "standard JSON": (standard, "Factory"),
        "standard JSON, whole name": (standard, "a.sol:Factory"),
        "combined JSON": (
            {"contracts": {"a.sol:Factory": {"abi": "[]", "bin": creation, "bin-runtime": runtime}}},
            "",
        ),
        "Foundry": ({"abi": [], "bytecode": {"object": f"0x{creation}"}, "deployedBytecode": details}, ""),
        "Hardhat": (
            {
                "_format": "hh-sol-artifact-1",
                "contractName": "Factory",
                "abi": [],
                "bytecode": f"0x{creation}",
                "deployedBytecode": f"0x{runtime}",
                "deployedLinkReferences": links,
            },
            "Factory",
        ),
        "build-info": ({"_format": "hh-sol-build-info-1", "output": standard}, "Factory"),
        "Vyper": ({"a.vy": {"bytecode": creation, "bytecode_runtime": runtime}, "version": "0.3.9"}, "a.vy"),
        "a node": ({"jsonrpc": "2.0", "id": 1, "result": f"0x{runtime}"}, ""),
        "printed by solc": (printed, "Factory"),
    }


@pytest.mark.parametrize("shape", shapes())
def test_artifacts(shape: str, tmp_path: Path) -> None:
    content, name = shapes()[shape]
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "artifact").write_text(text, "utf-8")
    for read in (read_code(tmp_path / "artifact", contract=name), read_code(text, contract=name)):
        assert read.kind == "runtime"
        assert read.runtime == read_code(one("Factory").runtime).runtime
    named = shape in ("standard JSON", "Foundry", "Hardhat", "build-info")
    assert (read.libraries[0].name == "a.sol:Lib") == (named or shape == "standard JSON, whole name")


def test_immutables_of_an_artifact_keep_their_ids() -> None:
    contract = one("Imm")
    first, *rest = contract.immutables
    references = {
        "3": [{"start": first, "length": 32}],
        "5": [{"start": at, "length": 32} for at in rest],
    }
    artifact = {"deployedBytecode": {"object": contract.runtime, "immutableReferences": references}}
    assert read_code(json.dumps(artifact)).immutables == {"3": (first,), "5": tuple(rest)}


def test_an_artifact_with_creation_code_only() -> None:
    read = read_code(json.dumps({"bytecode": f"0x{one('Args').creation}"}))
    assert read.runtime.hex() == one("Args").runtime
    with pytest.raises(CodeError, match="runtime code was not found"):
        read_code(json.dumps({"bytecode": "0x00"}))


def test_the_same_code_in_every_dress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = one("Child").runtime
    raw = bytes.fromhex(text)
    lines = "\r\n".join(text[at : at + 7] for at in range(0, len(text), 7))
    files = {
        "binary": raw,
        "hex": text.encode(),
        "0x": f"\n 0X{text.upper()}\n".encode(),
        "lines": lines.encode(),
        "powershell": f"0x{text}\r\n".encode("utf-16"),
        "mark": f"\ufeff{text}".encode(),
        "quoted": f'"0x{text}"'.encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert read_code(tmp_path / name).runtime == raw, name
        assert read_code(str(tmp_path / name)).runtime == raw, name
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert read_code("-").runtime == raw, name
    assert read_code(raw) == read_code(text) == read_code(read_code(text))


STANDARD_INPUT = {"language": "Solidity", "sources": {}}
TWO = {"contracts": {"a.sol:A": {"bin": "6000"}, "a.sol:B": {"bin": "6001"}, "a.sol:I": {"bin": ""}}}
REFUSED = [
    ("", "no code: there is not one byte"),
    ("0x", "no code"),
    ("0x60806", r"odd number of hex digits \(5\)"),
    ("0x6080g0", "'g' at position 7 "),
    ("6080\n60z0", r"'z' at position 8 \(line 2, character 3\)"),
    ("0xef00010100", "EOF container"),
    ("pragma solidity ^0.8.0;\ncontract A {}", "source text, not bytecode"),
    ("# @version 0.3.9\n@external\ndef f():\n    pass", "source text, not bytecode"),
    ("\n" * 300_000 + "z", r"'z' at position 300001 \(line 300001"),
    ("PUSH1 0x80 PUSH1 0x40 MSTORE", "names of instructions"),
    ("Token", "no file is named so"),
    ("https://etherscan.io/address/0x00", "nothing is fetched"),
    ('{"jsonrpc": "2.0", "id": 1, "error": {"code": 1}}', "look at its `error`"),
    ('[{"type": "function", "name": "a"}]', "this is an ABI"),
    ("out/Missing.json", "cannot be read: No such file"),
    ("{", r"not JSON: .*\(line 1, character 2\)"),
    ("[" * 100_000, "JSON"),
    ("{}", "JSON without bytecode"),
    (json.dumps(STANDARD_INPUT), "what a compiler is given"),
    (json.dumps({"errors": [{"severity": "error"}], "sources": {}}), "look at its `errors`"),
    (json.dumps({"abi": [], "bytecode": "0x", "deployedBytecode": "0x"}), "interface or an abstract"),
    (json.dumps(TWO), "2 contracts with code: a.sol:A, a.sol:B"),
    (
        json.dumps({"contracts": {"a.sol:I": {"bin": ""}, "a.sol:J": {"bin": ""}}}),
        "no contract in it has code",
    ),
    (json.dumps({"deployedBytecode": "0x60x0", "contractName": "A"}), "the text given: A: 'x' at position 5"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_refusals_say_what_and_where(text: str, words: str) -> None:
    with pytest.raises(CodeError, match=words) as caught:
        read_code(text)
    assert caught.value.where
    assert caught.value.exit_code == 3


def test_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match=r"no contract is named 'C'.*\n.*a.sol:A, a.sol:B"):
        read_code(json.dumps(TWO), contract="C")
    with pytest.raises(CodeError, match="no artifact"):
        read_code("6000", contract="C")
    with pytest.raises(CodeError, match="is a folder"):
        read_code(tmp_path)


def test_the_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "CODE_BYTES", 100)
    monkeypatch.setattr(limits, "ARTIFACT_BYTES", 1000)
    assert len(read_code(bytes(100)).runtime) == 100
    for too_much in (bytes(101), "00" * 101):
        with pytest.raises(CodeError, match="101 bytes of code; at most 100"):
            read_code(too_much)
    (tmp_path / "large").write_bytes(b"0" * 1001)
    with pytest.raises(CodeError, match="larger than 1,000 bytes"):
        read_code(tmp_path / "large")


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_code_or_refused(code: bytes) -> None:
    if code[:2] == b"\xef\x00":
        with pytest.raises(CodeError):
            read_code(code)
        return
    read = read_code(code)
    assert read == read_code(code.hex())
    assert read.runtime in (code, code[read.runtime_offset :][: len(read.runtime)]) or read.kind == "creation"
    assert 0 <= read.code_end <= len(read.runtime)


@given(st.text(max_size=200).filter(lambda text: text != "-"))  # which is standard input
def test_any_text_is_code_or_refused(text: str) -> None:
    try:
        read_code(text)
    except CodeError as error:
        assert error.what  # noqa: PT017
