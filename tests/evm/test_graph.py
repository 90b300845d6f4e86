"""Graphs as DOT and as pictures: nothing missing, nothing overlapping, the same every time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evm.test_structure import Graph, graphs, programs
from whet.errors import WhetError
from whet.evm.graph import MOST_BLOCKS, dot, picture
from whet.evm.layers import layout
from whet.evm.structure.graph import reverse_postorder
from whet.evm.tac import Block, Contract, End, Function, Statement

SVG = "{http://www.w3.org/2000/svg}"


def contract_of(graph: Graph, statements: int = 0) -> Contract:
    code = [Statement("SSTORE", (n, "a<&\"'\\"), (), n) for n in range(statements)]
    blocks = {name: Block(name, 1, [], code, end) for name, end in graph.items()}
    first = next(iter(blocks))
    function = Function("f<1>", "private", 0, (), None, {first: blocks[first], **blocks})
    return Contract({"f<1>": function}, 1, {})


@settings(max_examples=40, deadline=None)
@given(st.one_of(graphs(), programs()))
def test_boxes_do_not_overlap_and_ways_go_down_but_to_close_loops(graph: Graph) -> None:
    successors = {name: end.targets for name, end in graph.items()}
    sizes = {name: (40.0 + 10 * (len(name) % 3), 20.0 + 5 * number) for number, name in enumerate(graph)}
    placed = layout(successors, sizes)
    assert set(placed.spots) == set(reverse_postorder(successors))
    boxes = list(placed.spots.values())
    for number, one in enumerate(boxes):
        assert one.x - one.width / 2 >= 0
        assert one.x + one.width / 2 <= placed.width
        assert one.y + one.height <= placed.height
        for other in boxes[:number]:
            apart_x = abs(one.x - other.x) >= (one.width + other.width) / 2 - 1e-6
            apart_y = one.y + one.height <= other.y or other.y + other.height <= one.y
            assert apart_x or apart_y
    for way in placed.ways:
        assert way.back == (way.target.rank <= way.source.rank)
    assert len(placed.ways) == sum(len(successors[name]) for name in placed.spots)


@settings(max_examples=20, deadline=None)
@given(st.one_of(graphs(), programs()))
def test_pictures_show_every_reachable_block_and_way(graph: Graph) -> None:
    contract = contract_of(graph, statements=3)
    drawn = picture(contract, "f<1>")
    assert drawn == picture(contract, "f<1>")
    root = ElementTree.fromstring(drawn)
    reached = reverse_postorder({name: end.targets for name, end in graph.items()})
    assert len(root.findall(f"{SVG}rect")) == len(reached) + 1
    assert len(root.findall(f"{SVG}path")) == sum(len(graph[name].targets) for name in reached)
    said = [text.text or "" for text in root.findall(f"{SVG}text")]
    assert all(f"{name}  0x1" in said for name in reached)
    if len(reached) < len(graph):
        assert "unreachable not drawn" in said[0]


def test_long_blocks_say_how_much_is_cut() -> None:
    contract = contract_of({"b0": End("STOP")}, statements=50)
    assert "... 40 more" in picture(contract, "f<1>")
    assert "... 40 more" in dot(contract)


def test_dot_is_escaped_and_complete() -> None:
    graph = {"b0": End("BRANCH", (1,), ("b1", "b2")), "b1": End("STOP"), "b2": End("REVERT", (0, 0))}
    text = dot(contract_of(graph, statements=1), "f<1>")
    assert text.count("->") == 2
    strings = re.findall(r'"(?:[^"\\]|\\.)*"', text)
    assert any('a<&\\"' in string for string in strings)
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert '"' not in outside
    assert outside.count("{") == outside.count("}")


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(WhetError, match="no function"):
        dot(contract_of({"b0": End("STOP")}), "g")
    many = {f"b{n}": End("JUMP", (), (f"b{n + 1}",)) for n in range(MOST_BLOCKS)}
    with pytest.raises(WhetError, match="more than a picture"):
        picture(contract_of({**many, f"b{MOST_BLOCKS}": End("STOP")}), "f<1>")
