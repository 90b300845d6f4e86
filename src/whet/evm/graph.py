"""Control-flow graphs to look at: as DOT for other programs, and as a picture (SVG) that needs none.

A box is a block: its id, offset, first statements (`MOST_LINES`; how many more is said) and its end. Colours say how
blocks end: green goes back or stops, red reverts, amber is cut off or invalid. Of two ways, the green one is taken where
the condition holds, the red one where it does not; dashed ways close loops.
"""

from __future__ import annotations

from html import escape

from whet.errors import WhetError
from whet.evm import tac
from whet.evm.layers import Layout, Spot, Way, layout
from whet.evm.text.flat import end_text, statement_text

MOST_LINES = 10
LONGEST_LINE = 52
MOST_BLOCKS = 1500
"""Blocks in one picture; nobody reads a larger one."""

_LINE, _LETTER, _PAD = 14.0, 6.65, 8.0

_FILLS = {
    "RETURN": "#e3f4e5",
    "STOP": "#e3f4e5",
    "RETURNPRIVATE": "#e3f4e5",
    "ENTER": "#e4ecfa",
    "REVERT": "#fbe4e2",
    "INVALID": "#fdf0cf",
    "UNRESOLVED": "#fdf0cf",
    "SELFDESTRUCT": "#fbe4e2",
}
_FONT = 'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="11"'
_PLAIN, _HELD, _FAILED, _OTHER = "#ffffff", "#2e8b57", "#c0392b", "#555555"


def dot(contract: tac.Contract, function: str | None = None) -> str:
    """The graph of one function, or of all, each in a frame, in DOT, the language of Graphviz.

    function: its name, as in `Contract.functions`. Raises WhetError for one that is not there.
    """
    chosen = [_named(contract, function)] if function is not None else list(contract.functions.values())
    lines = ["digraph cfg {", '  node [shape=box, style=filled, fontname="monospace", fontsize=10];']
    for number, one in enumerate(chosen):
        lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(one.name)};"]
        lines += [f"    {line}" for line in _dot_function(one, number)]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def picture(contract: tac.Contract, function: str) -> str:
    """The graph of one function as SVG. Raises WhetError for a function that is not there or has over MOST_BLOCKS."""
    chosen = _named(contract, function)
    if len(chosen.blocks) > MOST_BLOCKS:
        raise WhetError(
            f"{function} has {len(chosen.blocks):,} blocks, more than a picture is drawn of ({MOST_BLOCKS:,})",
            fix="write DOT instead",
        )
    texts = {name: _lines(block) for name, block in chosen.blocks.items()}
    sizes = {name: _size(lines) for name, lines in texts.items()}
    placed = layout({name: block.end.targets for name, block in chosen.blocks.items()}, sizes)
    return _svg(chosen, placed, texts)


def _named(contract: tac.Contract, function: str) -> tac.Function:
    if function not in contract.functions:
        raise WhetError(f"no function {function!r}", fix=f"one of {', '.join(contract.functions)}")
    return contract.functions[function]


def _lines(block: tac.Block) -> list[str]:
    """What stands in a box."""
    said = [f"{p.result} = PHI({', '.join(_phi(v) for v in p.incoming.values())})" for p in block.phis]
    said += [statement_text(statement) for statement in block.statements]
    more = len(said) - MOST_LINES
    if more > 1:
        said = [*said[:MOST_LINES], f"... {more} more"]
    return [_cut(line) for line in [f"{block.id}  {block.pc:#x}", *said, _end(block.end)]]


def _phi(value: tac.Operand) -> str:
    return hex(value) if isinstance(value, int) else value


def _end(end: tac.End) -> str:
    text = end_text(end)
    return text if not end.targets or end.op == "SWITCH" else text.split(" b")[0]


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + "..."


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot_function(function: tac.Function, number: int) -> list[str]:
    lines = []
    for block in function.blocks.values():
        label = "".join(line.replace("\\", "\\\\").replace('"', '\\"') + "\\l" for line in _lines(block))
        fill = _FILLS.get(block.end.op, _PLAIN)
        lines.append(f'"{number}.{block.id}" [label="{label}", fillcolor="{fill}"];')
    for block in function.blocks.values():
        for place, target in enumerate(block.end.targets):
            colour = _colour(block.end.op, place)
            lines.append(f'"{number}.{block.id}" -> "{number}.{target}" [color="{colour}"];')
    return lines


def _colour(op: str, place: int) -> str:
    return (_HELD, _FAILED)[place] if op == "BRANCH" else _OTHER


def _size(lines: list[str]) -> tuple[float, float]:
    return max(map(len, lines)) * _LETTER + 2 * _PAD, len(lines) * _LINE + _PAD


def _svg(function: tac.Function, placed: Layout, texts: dict[str, list[str]]) -> str:
    width, height = round(placed.width), round(placed.height + 24)
    size = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 -24 {width} {height}" {_FONT}>',
        f'<rect y="-24" width="{width}" height="{height}" fill="#fafafa"/>',
        f'<text x="12" y="-6" font-weight="bold">{escape(_title(function, len(placed.spots)))}</text>',
        *(_marker(name, colour) for name, colour in _MARKERS.items()),
    ]
    parts += [_path(way, function.blocks[way.source.name].end.op, placed) for way in placed.ways]
    for name, spot in placed.spots.items():
        parts += _box(spot, texts[name], _FILLS.get(function.blocks[name].end.op, _PLAIN))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _title(function: tac.Function, drawn: int) -> str:
    unreached = len(function.blocks) - drawn
    left_out = f", {unreached} unreachable not drawn" if unreached else ""
    return f"{function.name}({', '.join(function.params)})  {drawn} blocks{left_out}"


_MARKERS = {"held": _HELD, "failed": _FAILED, "other": _OTHER}


def _marker(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    )


def _box(spot: Spot, lines: list[str], fill: str) -> list[str]:
    left = spot.x - spot.width / 2
    size = f'width="{spot.width:.1f}" height="{spot.height:.1f}"'
    parts = [f'<rect x="{left:.1f}" y="{spot.y:.1f}" {size} rx="4" fill="{fill}" stroke="#888"/>']
    for number, line in enumerate(lines):
        bold = ' font-weight="bold"' if number == 0 else ""
        colour = ' fill="#888"' if line.startswith("... ") else ""
        y = spot.y + _LINE * (number + 1) - 1
        parts.append(
            f'<text x="{left + _PAD:.1f}" y="{y:.1f}"{bold}{colour} xml:space="preserve">{escape(line)}</text>'
        )
    return parts


def _path(way: Way, op: str, placed: Layout) -> str:
    """A way as a curve: out at the bottom, in at the top; one that closes a loop goes up beside the boxes."""
    points = _back(way) if way.back else _down(way, placed)
    name = {_HELD: "held", _FAILED: "failed"}.get(_colour(op, way.number), "other")
    dashes = ' stroke-dasharray="5 3"' if way.back else ""
    return (
        f'<path d="{_curve(points)}" fill="none" stroke="{_MARKERS[name]}" stroke-width="1.3"{dashes}'
        f' marker-end="url(#{name})"/>'
    )


def _down(way: Way, placed: Layout) -> list[tuple[float, float]]:
    source, target = way.source, way.target
    leaving = sorted((w for w in placed.ways if w.source is source and not w.back), key=_first_x)
    share = (leaving.index(way) + 1) / (len(leaving) + 1) - 0.5
    points = [(source.x + source.width * share * 0.6, source.y + source.height)]
    for spot in way.points:
        points += [(spot.x, spot.y), (spot.x, spot.y + _tallest(placed, spot.rank))]
    return [*points, (target.x, target.y - 1)]


def _first_x(way: Way) -> float:
    return (way.points[0] if way.points else way.target).x


def _back(way: Way) -> list[tuple[float, float]]:
    """Out at the side on which the way goes up, in at the same side."""
    source, target = way.source, way.target
    ups = way.points or [Spot("", 0, 0, 0, x=max(source.x + source.width, target.x + target.width))]
    sides = [1 if up.x > spot.x else -1 for up, spot in ((ups[-1], source), (ups[0], target))]
    start = (source.x + sides[0] * source.width / 2, source.y + source.height - 10)
    stop = (target.x + sides[1] * (target.width / 2 + 1), target.y + 10)
    bends = [(spot.x, spot.y + 24) for spot in reversed(ups[1:-1])]
    return [start, (ups[-1].x, start[1] - 12), *bends, (ups[0].x, stop[1] + 12), stop]


def _tallest(placed: Layout, rank: int) -> float:
    return max((spot.height for spot in placed.spots.values() if spot.rank == rank), default=0.0)


def _curve(points: list[tuple[float, float]]) -> str:
    (x, y), *rest = points
    parts = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in rest:
        if next_x == x or abs(next_y - y) < 13:
            parts.append(f"L{next_x:.1f} {next_y:.1f}")
        else:
            bend = (next_y - y) / 2
            parts.append(
                f"C{x:.1f} {y + bend:.1f} {next_x:.1f} {next_y - bend:.1f} {next_x:.1f} {next_y:.1f}"
            )
        x, y = next_x, next_y
    return "".join(parts)
