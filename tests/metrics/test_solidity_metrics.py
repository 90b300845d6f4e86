"""How near written Solidity is to the true one: canonical text, every metric's bounds, golden values, parity."""

from __future__ import annotations

import math
import random
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from whet.errors import DataError, WhetError
from whet.metrics.solidity import similarity
from whet.metrics.solidity.base import SOLIDITY_METRICS, Pair
from whet.metrics.solidity.bleu import Bleu
from whet.metrics.solidity.chrf import ChrF
from whet.metrics.solidity.edit_distance import EditDistance
from whet.metrics.solidity.keywords import Keywords, frequencies
from whet.metrics.solidity.length_difference import LengthDifference
from whet.metrics.solidity.renamed_match import RenamedMatch, renamed
from whet.metrics.solidity.structure import (
    Called,
    ControlFlow,
    StructuralFidelity,
    calls,
    control,
    f1,
    productions,
)
from whet.metrics.solidity.syntax import MOST_BYTES, _parser, nodes, parse

SOURCES = sorted((Path(__file__).parents[1] / "evm/fixtures/sources").glob("*.sol"))
TRANSFER = """
    function transfer(address to, uint256 amount) public returns (bool) {
        // not part of it
        require(balances[msg.sender] >= amount, "low  funds"); /* nor this */
        if (to == address(0)) { revert Zero(); }
        balances[msg.sender] -= amount;
        for (uint i; i < 3; i++) x += 1 ether;
        emit Transfer(msg.sender, to, amount);
        (bool ok, ) = token.call{value: 1}(abi.encode(to));
        return ok;
    }
"""
CANONICAL = """\
function transfer(address to, uint256 amount) public returns (bool) {
    require(balances[msg.sender] >= amount, "low  funds");
    if (to == address(0)) {
        revert Zero();
    }
    balances[msg.sender] -= amount;
    for (uint i; i < 3; i++) x += 1 ether;
    emit Transfer(msg.sender, to, amount);
    (bool ok,) = token.call{value: 1}(abi.encode(to));
    return ok;
}"""
OTHER = "function owner() view returns (address) { return _owner; }"
ASSEMBLY = "function f(uint a) { assembly { if iszero(a) { revert(0, 0) } let z := add(a, 1) sstore(0, z) } }"


def members() -> list[str]:
    """Every function of the sources that the fixtures are compiled from, as its author wrote it."""
    return [
        node.text.decode()
        for path in SOURCES
        for node in nodes(_parser().parse(path.read_bytes()).root_node)
        if node.type in ("function_definition", "constructor_definition", "modifier_definition")
    ]


def test_canonical_text() -> None:
    assert parse(TRANSFER).canonical == CANONICAL
    assert parse(TRANSFER).errors == 0
    assert parse(ASSEMBLY).canonical.splitlines()[2:5] == [
        "        if iszero(a) {", "            revert(0, 0)", "        }",
    ]  # fmt: skip


def test_canonical_text_is_its_own_and_does_not_depend_on_blanks_or_comments() -> None:
    rng = random.Random(7)
    functions = members()
    assert len(functions) > 40
    for text in functions:
        side = parse(text)
        assert parse(side.canonical).canonical == side.canonical
        shuffled = " ".join(
            token.text + rng.choice((" ", "\n\n\t", " /* a; } b */ ")) for token in side.tokens
        )
        assert parse(shuffled).canonical == side.canonical


@pytest.mark.parametrize(
    "text", ["", "}", "{{{", "function f( {{", "garbage \x00 \ud800", "/*", '"', "é" * 100]
)
def test_what_cannot_be_read_has_a_figure(text: str) -> None:
    for metric in SOLIDITY_METRICS:
        for value in metric.values([Pair(text, TRANSFER), Pair(TRANSFER, text), Pair(text, text)]):
            assert math.isfinite(value), metric.NAME


SOUP = """function f g ( ) { } { } ; , . = + x uint address public returns if for while do assembly let := contract C D
" ' é \\ [ ] revert require 1 ether 0x1f ? : => # $ @ constructor modifier struct enum event emit try catch unchecked"""


def test_every_word_of_any_text_is_a_token_and_no_other_is() -> None:
    draw, words = random.Random(3), SOUP.split()
    for at in range(2000):
        text = " ".join(draw.choice(words) for _ in range(draw.randint(0, 25)))
        text = f"function f() public {{ x = y; }}\n{text}" if at % 2 else text
        tokens = "".join("".join(token.text.split()) for token in parse(text).tokens)
        assert tokens == "".join(text.split()), text


@pytest.mark.parametrize(
    "behind", ["\n}", "\n}\nfunction g() public { selfdestruct(msg.sender); }", "\n} and now some prose. {", "} contract D {"]
)  # fmt: skip
def test_what_stands_behind_the_end_of_the_contract_counts(behind: str) -> None:
    pair = Pair(TRANSFER + behind, TRANSFER)
    assert pair.candidate.errors > 0
    assert pair.candidate.canonical.startswith(CANONICAL + "\n}")
    for metric in (EditDistance, Bleu, ChrF, StructuralFidelity, LengthDifference):
        assert metric.values([pair])[0] not in (0, 1, pytest.approx(100)), metric.NAME
    assert EditDistance.values([pair])[0] > 0
    assert RenamedMatch.values([pair]) == [0.0]


def test_two_functions_with_a_brace_too_many_are_both_printed() -> None:
    side = parse("function f() { a(); } } function g() { if (b) { c(); } }")
    assert side.canonical.splitlines() == [
        "function f() {", "    a();", "}",
        "}",
        "function g() {", "    if (b) {", "        c();", "    }", "}",
    ]  # fmt: skip
    assert calls(side) == ["a", "c"]


def test_nothing_of_what_a_text_is_parsed_between_is_its_own() -> None:
    cut = parse("function f() public { assembly { x := ")
    assert cut.canonical == "function f() public { assembly { x :="
    assert cut.errors > 0
    open_ = parse("function f() { a(); ")
    assert open_.canonical == "function f() {\n    a();"
    assert ("function_body", "{", "statement") in productions(open_)
    assert productions(parse("")) == productions(parse(" // nothing")) == []


def test_no_text_takes_more_than_its_length_in_time() -> None:
    loops = (
        "if(a)",
        "if(a){",
        "()",
        ".y(a)",
        "[0](x)",
        "}",
        "{",
        "{}",
        "} function g() { x(); }",
        "f(",
        "try a.b() {",
    )
    for loop in loops:
        side = parse("function f() public { f" + loop * 5000)
        began = time.monotonic()
        assert len(control(side)) + len(calls(side)) + len(productions(side)) + len(side.canonical) > 0
        assert time.monotonic() - began < 5, loop
    deep = parse("function f() { " + "{ " * 5000 + "} " * 5000 + "}")
    assert len(deep.canonical) < 2_000_000, "the lines of deep blocks are not as long as these are deep"


def test_too_long() -> None:
    with pytest.raises(DataError, match="too long"):
        parse("x" * (MOST_BYTES + 1))


def test_the_same_text_is_best_and_the_bounds_hold() -> None:
    texts = members()[:24]
    best = {"edit_distance": 0.0, "length_difference": 0.0, "bleu": 100.0, "chrf": 100.0}
    most = {"bleu": 100.0001, "chrf": 100.0001}
    for metric in SOLIDITY_METRICS:
        same = metric.values([Pair(text, text) for text in texts])
        assert same == pytest.approx([best.get(metric.NAME, 1.0)] * len(texts)), metric.NAME
        pairs = [Pair(a, b) for a, b in pairwise(texts)]
        values = metric.values(pairs)
        assert any(value != best.get(metric.NAME, 1.0) for value in values), metric.NAME
        if metric.NAME != "length_difference":
            assert all(-1 <= value <= most.get(metric.NAME, 1.0001) for value in values), metric.NAME
        assert math.isfinite(metric.overall(pairs, values))


def test_golden_values() -> None:
    pair = Pair("function f() { x = 1; }", "function f() { x = 23; }")
    size = len("function f() {\n    x = 23;\n}")
    assert EditDistance.values([pair]) == [pytest.approx(2 / size)]
    assert LengthDifference.values([pair]) == [-1]
    assert LengthDifference.overall([pair] * 2, [-1.0, 3.0]) == 2
    assert Keywords.values([Pair("require(a);", "require(a); require(b);")]) == [pytest.approx(2 / 3)]
    # 5 of 6 tokens, 3 of 5 pairs, 2 of 4 triples, 1 of 3: no brevity penalty
    bleu = Bleu.values([Pair("a = b + c;", "a = b + d;")])
    assert bleu == [pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)]
    assert f1("aab", "abb") == pytest.approx(2 / 3)
    assert f1([], []) == 1.0
    assert f1(["a"], []) == 0.0


def test_only_names_are_renamed() -> None:
    other = TRANSFER.replace("balances", "stor_0").replace("amount", "arg1").replace("Zero", "Error_1")
    swapped = TRANSFER.replace("transfer(address to, uint256 amount)", "transfer(address amount, uint256 to)")
    assert RenamedMatch.values([Pair(other, TRANSFER), Pair(swapped, TRANSFER)]) == [1.0, 0.0]
    assert RenamedMatch.values([Pair("function f() constant { }", "function f() only { }")]) == [0.0]
    assert RenamedMatch.values([Pair("modifier m() { _; }", "modifier m() { x; }")]) == [0.0]
    assert RenamedMatch.values([Pair("f(msg.sender);", "f(msg.value);")]) == [0.0]
    assert RenamedMatch.values([Pair("a.push(b);", "c.push(d);"), Pair("a.push(b);", "a.pop(b);")]) == [
        1.0,
        0.0,
    ]
    assert renamed(parse("x = y + x;")) == ["n1", "=", "n2", "+", "n1", ";"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('a.call{value: 1}("");', 'a.call{gas: 1}("");'),
        ("new C{salt: s}();", "new C{value: s}();"),
        ("try a.f{value: 1}() { } catch { }", "try a.f{gas: 1}() { } catch { }"),
        ('a.call.value(1)("");', 'a.call.gas(1)("");'),
        ("c.f.value(1).gas(2)();", "c.f.gas(1).value(2)();"),
        ("Id.wrap(y);", "Id.unwrap(y);"),
        ("type(I).interfaceId;", "type(I).creationCode;"),
        ("type(uint).max;", "type(uint).min;"),
        ("this.f.selector;", "this.f.address;"),
        ("assembly { y := x.slot }", "assembly { y := x.offset }"),
        ("assembly { x.slot := y }", "assembly { x.length := y }"),
        ("assembly { y := codesize() }", "assembly { y := pc() }"),
        ("try a.f() { } catch Error(string memory r) { }", "try a.f() { } catch Panic(string memory r) { }"),
        ("bytes.concat(a);", "bytes.n(a);"),
        ("log1(a, b);", "log2(a, b);"),
        ("abi.encode(a);", "abi.encodePacked(a);"),
    ],
)
def test_the_languages_own_words_are_not_renamed(one: str, other: str) -> None:
    wrap = "function f() {{ {} }}".format
    assert RenamedMatch.values([Pair(wrap(one), wrap(other))]) == [0.0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("uint value = gas + salt;", "uint a = b + c;"),
        ("s.value = s.gas;", "s.a = s.b;"),
        ("s.slot = s.offset;", "s.a = s.b;"),
        ("f({value: 1, gas: 2});", "f({a: 1, b: 2});"),
        ("a.f{value: value}(gas);", "a.f{value: b}(c);"),
        ("wrap(x); unwrap(y); x.wrap;", "a(x); b(y); x.a;"),
        ("Math.max(a, b);", "Math.min(a, b);"),
        ("x.name; x.interfaceId;", "x.a; x.b;"),
        ("x.msg.sender;", "x.a.b;"),
        ("s.concat(t);", "s.a(t);"),
        ("revert Error(Panic);", "revert A(B);"),
        ("assembly { let slot := x.slot let value := offset }", "assembly { let a := x.slot let b := c }"),
        ("assembly { let z := x_slot }", "assembly { let z := a }"),
        ("assembly { function now(x) -> y { } let block := now(1) }", "assembly { function a(x) -> y { } let b := a(1) }"),
    ],
)  # fmt: skip
def test_the_same_words_elsewhere_are_somebodys(one: str, other: str) -> None:
    wrap = "function f() {{ {} }}".format
    assert RenamedMatch.values([Pair(wrap(one), wrap(other))]) == [1.0]


def test_structure() -> None:
    side = parse(TRANSFER)
    assert control(side) == ["require", "if", "revert", "end", "for", "end", "return"]
    assert calls(side) == ["require", "Zero", "Transfer", "call", "encode"]
    assert control(parse(ASSEMBLY)) == ["assembly", "if", "revert", "end", "end"]
    assert calls(parse(ASSEMBLY)) == []
    nested, flat = "if (a) { if (b) { c(); } }", "if (a) { } if (b) { c(); }"
    wrap = "function f() {{ {} }}".format
    assert ControlFlow.values([Pair(wrap(nested), wrap(flat))])[0] < 1
    assert Called.values([Pair(wrap(nested), wrap(flat))]) == [1.0]
    assert productions(parse(wrap("a = 1;"))) == productions(parse(wrap("bcd = 77;")))
    assert productions(parse(wrap("a = 1;"))) != productions(parse(wrap("a += 1;")))


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("revert E2(b);", ["E2"]),
        ("revert Lib.E3(a, f(b));", ["E3", "f"]),
        ("revert E4({a: b});", ["E4"]),
        ('revert("no");', ["revert"]),
        ("revert(a, g(b));", ["revert", "g"]),
        ("revert();", ["revert"]),
        ("emit A.B(c);", ["B"]),
        ("handlers[id](x);", ["handlers"]),
        ("a.handlers /* c */ [id] /* d */ (x);", ["handlers"]),
        ("f(a)(b);", ["f"]),
        ("t.call{value: v}(a);", ["call"]),
        ("new Foo(x); new uint[](n); new A.B[](n);", ["Foo", "B"]),
        ("uint(x); payable(x).transfer(y); I(x).f();", ["transfer", "f", "I"]),
        ("assembly { function g(a) -> b { b := add(a, mload(0)) } x := g(codesize()) }", ["g"]),
    ],
)
def test_the_name_of_what_is_called(statement: str, names: list[str]) -> None:
    assert calls(parse(f"function f() {{ {statement} }}")) == names


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("do { require(x); } while (y);", "do require end"),
        ("do { return; } while (y);", "do return end"),
        ("assembly { sstore(0, 1) }", "assembly end"),
        ("assembly { revert(0, 0) }", "assembly revert end"),
        ("assembly { if iszero(x) { return(0, 32) } stop() }", "assembly if return end end"),
        ("assembly { switch x case 0 { leave } default { } }", "assembly switch return end end"),
        ("try a.b() { c(); } catch { }", "try catch end end"),
        ("while (a) b();", "while end"),
        ("return a ? b : c;", "return ?"),
        ("if (a) throw;", "if revert end"),
    ],
)
def test_what_holds_statements_has_an_end(statement: str, words: str) -> None:
    assert control(parse(f"function f() {{ {statement} }}")) == words.split()


def test_two_empty_texts_are_alike() -> None:
    empty, half = Pair("", "// nothing"), Pair("", TRANSFER)
    for metric in SOLIDITY_METRICS:
        best = {"bleu": 100.0, "chrf": 100.0, "edit_distance": 0.0, "length_difference": 0.0}.get(
            metric.NAME, 1.0
        )
        values = metric.values([empty, half])
        assert values[0] == best, metric.NAME
        assert values[1] != best, metric.NAME
        assert metric.overall([empty, empty], [best, best]) == best, metric.NAME


def test_frequencies_of_keywords() -> None:
    pairs = [Pair(TRANSFER, TRANSFER), Pair("function f() { require(a); }", "function f() { throw; }")]
    assert frequencies(pairs) == {
        "require": (2, 1), "revert": (1, 2), "msg.sender": (3, 3), "emit": (1, 1), "call": (1, 1),
    }  # fmt: skip


def test_embeddings_are_those_that_transformers_computes() -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = similarity._folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    texts = [CANONICAL, parse(OTHER).canonical, "x"]
    for text, ours in zip(texts, similarity.embed(texts), strict=True):
        theirs = (
            model(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(dim=1)[0].detach().numpy()
        )
        assert np.allclose(ours, theirs / np.linalg.norm(theirs), atol=1e-5)


def test_no_token_of_a_long_text_is_left_out() -> None:
    head = "word " * similarity.WINDOW
    plain, longer = similarity.embed([head, head + CANONICAL])
    tail = similarity.embed([CANONICAL])[0]
    assert longer @ tail > plain @ tail + 0.05
    assert similarity.embed([""]).tolist() == [[0.0] * 384]


def test_floor_and_ceiling() -> None:
    texts = members()[:30]
    low, high = similarity.floor(texts), similarity.ceiling(texts)
    assert low < high < 1
    with pytest.raises(WhetError, match="two different"):
        similarity.floor([texts[0], texts[0] + " // again"])


def test_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "WEIGHTS", "0" * 64)
    with pytest.raises(WhetError, match="is not the sentence-transformers"):
        similarity._loaded.__wrapped__()
