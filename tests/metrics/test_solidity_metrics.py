"""How near written Solidity is to the true one: canonical text, every metric's bounds, golden values, parity."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from whet.errors import DataError, WhetError
from whet.metrics.solidity import similarity
from whet.metrics.solidity.base import SOLIDITY_METRICS, Pair
from whet.metrics.solidity.bleu import Bleu
from whet.metrics.solidity.edit_distance import EditDistance
from whet.metrics.solidity.keywords import Keywords, frequencies
from whet.metrics.solidity.length_difference import LengthDifference
from whet.metrics.solidity.renamed_match import RenamedMatch, renamed
from whet.metrics.solidity.structure import Called, ControlFlow, calls, control, f1, productions
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
    assert RenamedMatch.values([Pair("f(msg.sender);", "f(msg.value);")]) == [0.0]
    assert RenamedMatch.values([Pair("a.push(b);", "c.push(d);"), Pair("a.push(b);", "a.pop(b);")]) == [
        1.0,
        0.0,
    ]
    assert renamed(parse("x = y + x;")) == ["n1", "=", "n2", "+", "n1", ";"]


def test_structure() -> None:
    side = parse(TRANSFER)
    assert control(side) == ["require", "if", "revert", "end", "for", "end", "return"]
    assert calls(side) == ["require", "Zero", "Transfer", "call", "encode"]
    assert control(parse(ASSEMBLY)) == ["assembly", "if", "end", "end"]
    assert calls(parse(ASSEMBLY)) == ["iszero", "revert", "add", "sstore"]
    nested, flat = "if (a) { if (b) { c(); } }", "if (a) { } if (b) { c(); }"
    wrap = "function f() {{ {} }}".format
    assert ControlFlow.values([Pair(wrap(nested), wrap(flat))])[0] < 1
    assert Called.values([Pair(wrap(nested), wrap(flat))]) == [1.0]
    assert productions(parse(wrap("a = 1;"))) == productions(parse(wrap("bcd = 77;")))
    assert productions(parse(wrap("a = 1;"))) != productions(parse(wrap("a += 1;")))


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
