"""Where the boxes of a control-flow graph stand on paper: layers from top to bottom, few crossings, straight ways.

After K. Sugiyama et al., Methods for Visual Understanding of Hierarchical System Structures, 1981: ranks by the longest
way that closes no loop, order within a rank by the mean of the neighbours, then places by the same mean without
overlaps. Sweeps are counted, not timed, so that the same graph always looks the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from whet.evm.structure.graph import reverse_postorder

SWEEPS = 12
LONGEST = 40
"""A way over more ranks than this goes straight, across what stands between."""
GAP_X, GAP_Y, BEND = 28.0, 46.0, 14.0
"""Pixels between boxes, between ranks, and the room that a way takes beside a box."""


@dataclass(slots=True)
class Spot:
    """A box, or (no name) a point that a long way passes. x: its middle; y: its upper edge; in pixels."""

    name: str
    width: float
    height: float
    rank: int
    x: float = 0.0
    y: float = 0.0
    above: list[Spot] = field(default_factory=list)
    below: list[Spot] = field(default_factory=list)


@dataclass(slots=True)
class Way:
    """From one box to another through points. number: which of the source's ways it is. back: it closes a loop."""

    source: Spot
    target: Spot
    number: int
    back: bool
    points: list[Spot]


@dataclass(slots=True)
class Layout:
    spots: dict[str, Spot]
    ways: list[Way]
    width: float
    height: float


def layout(successors: Mapping[str, tuple[str, ...]], sizes: Mapping[str, tuple[float, float]]) -> Layout:
    """Places for boxes of the given (width, height). Blocks that cannot be reached are left out."""
    order = reverse_postorder(successors)
    ranks = _ranks(successors, order)
    spots = {name: Spot(name, *sizes[name], ranks[name]) for name in order}
    layers: list[list[Spot]] = [[] for _ in range(max(ranks.values()) + 1)]
    for name in order:
        layers[ranks[name]].append(spots[name])
    ways = [
        _way(spots[name], spots[target], number, order[target] <= order[name], layers)
        for name in order
        for number, target in enumerate(successors[name])
    ]
    _sort(layers)
    _spread(layers)
    return Layout(spots, ways, *_extent(layers))


def _ranks(successors: Mapping[str, tuple[str, ...]], order: Mapping[str, int]) -> dict[str, int]:
    ranks = dict.fromkeys(order, 0)
    for name in order:
        for target in successors[name]:
            if order[target] > order[name]:
                ranks[target] = max(ranks[target], ranks[name] + 1)
    return ranks


def _way(source: Spot, target: Spot, number: int, back: bool, layers: list[list[Spot]]) -> Way:
    upper, lower = (target, source) if back else (source, target)
    between = range(upper.rank + 1, lower.rank)
    if back:  # beside both boxes, so that the way does not run through them
        between = range(upper.rank, lower.rank + 1)
    points: list[Spot] = []
    if len(between) <= LONGEST:
        points = [Spot("", BEND, 0.0, rank) for rank in between]
        for point in points:
            layers[point.rank].append(point)
    chain = points if back else [upper, *points, lower]
    for one, other in pairwise(chain):
        one.below.append(other)
        other.above.append(one)
    if back and points:
        points[0].above.append(upper)
        points[-1].below.append(lower)
    return Way(source, target, number, back, points)


def _sort(layers: list[list[Spot]]) -> None:
    """Orders every layer by where its neighbours stand, up and down by turns."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        places = {id(spot): float(place) for layer in layers for place, spot in enumerate(layer)}
        for layer in layers if down else reversed(layers):
            wanted = {id(s): _mean(s.above if down else s.below, places, places[id(s)]) for s in layer}
            layer.sort(key=lambda spot: wanted[id(spot)])
            places |= {id(spot): float(place) for place, spot in enumerate(layer)}


def _mean(neighbours: list[Spot], places: dict[int, float], otherwise: float) -> float:
    if not neighbours:
        return otherwise
    return sum(places[id(spot)] for spot in neighbours) / len(neighbours)


def _spread(layers: list[list[Spot]]) -> None:
    """Gives every spot a place as near to the middle of its neighbours as the others allow."""
    y = GAP_Y / 2
    for layer in layers:
        x = 0.0
        for spot in layer:
            spot.x, spot.y = x + spot.width / 2, y
            x += spot.width + GAP_X
        y += max(spot.height for spot in layer) + GAP_Y
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            near = [(s.above if down else s.below) or [s] for s in layer]
            _place(layer, [sum(n.x for n in ns) / len(ns) for ns in near])
    left = min(spot.x - spot.width / 2 for layer in layers for spot in layer)
    for layer in layers:
        for spot in layer:
            spot.x += GAP_X - left


def _place(layer: list[Spot], wanted: list[float]) -> None:
    """Puts a layer's spots in order and without overlap, so that the squares of the ways to `wanted` are least.

    Neighbours that want to overlap form a group that stands at the mean of what its members want (pool adjacent
    violators).
    """
    groups: list[
        tuple[float, int]
    ] = []  # sum of wanted places, each less the room before it in the layer; members
    offsets, room = [], 0.0
    for place, spot in enumerate(layer):
        if place:
            room += (layer[place - 1].width + spot.width) / 2 + GAP_X
        offsets.append(room)
        groups.append((wanted[place] - room, 1))
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, members = groups.pop()
            groups[-1] = (groups[-1][0] + total, groups[-1][1] + members)
    starts = [total / members for total, members in groups for _ in range(members)]
    for spot, start, offset in zip(layer, starts, offsets, strict=True):
        spot.x = start + offset


def _extent(layers: list[list[Spot]]) -> tuple[float, float]:
    right = max(spot.x + spot.width / 2 for layer in layers for spot in layer)
    bottom = max(spot.y + spot.height for layer in layers for spot in layer)
    return right + GAP_X, bottom + GAP_Y / 2
