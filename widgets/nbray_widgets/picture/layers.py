"""Boxes and arrows in layers, left to right: the layout of the still picture.

The browser lays the live view out with dagre; this one is for pictures that no browser has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Box(NamedTuple):
    """Where a node lies: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


def ranks(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The column of each node: one right of the last node it needs. An edge that closes a cycle counts for nothing.

    Which one closes it is seen on the way from those that need nothing: it leads back to where the way came from.
    """
    leads: dict[str, list[str]] = {node: [] for node in nodes}
    needing: set[str] = set()
    for source, target in edges:
        if source != target:
            leads[source].append(target)
            needing.add(target)
    closing: set[tuple[str, str]] = set()
    left: list[str] = []  # each node after all that it leads to
    seen: set[str] = set()
    way: set[str] = set()
    for root in sorted(leads, key=needing.__contains__):
        # An explicit stack: a chain of groups may be longer than Python's recursion limit allows.
        stack = [] if root in seen else [(root, iter(leads[root]))]
        while stack:
            node, targets = stack[-1]
            seen.add(node)
            way.add(node)
            into = next(targets, None)
            if into is None:
                stack.pop()
                way.discard(node)
                left.append(node)
            elif into in way:
                closing.add((node, into))
            elif into not in seen:
                stack.append((into, iter(leads[into])))
    rank = dict.fromkeys(leads, 0)
    for node in reversed(left):
        for target in leads[node]:
            if (node, target) not in closing:
                rank[target] = max(rank[target], rank[node] + 1)
    return rank


def layers(
    sizes: Mapping[str, tuple[float, float]],
    edges: Iterable[tuple[str, str]],
    gap_x: float = 70,
    gap_y: float = 22,
    margin: float = 10,
) -> dict[str, Box]:
    """Positions for nodes of the given sizes: columns by dependency, in each column near to what it is joined with."""
    edges = [(a, b) for a, b in edges if a != b]
    columns: dict[int, list[str]] = {}
    for node, rank in ranks(sizes, edges).items():
        columns.setdefault(rank, []).append(node)
    joined: dict[str, list[str]] = {node: [] for node in sizes}
    for source, target in edges:
        joined[source].append(target)
        joined[target].append(source)
    place = {node: i / len(column) for column in columns.values() for i, node in enumerate(column)}
    ordered = [columns[c] for c in sorted(columns)]
    for sweep in (ordered, ordered[::-1], ordered):
        for column in sweep:
            middle = {
                n: sum(place[m] for m in joined[n]) / len(joined[n]) if joined[n] else place[n]
                for n in column
            }
            column.sort(key=lambda node: middle[node])
            place.update((node, i / len(column)) for i, node in enumerate(column))
    heights = [sum(sizes[n][1] for n in column) + gap_y * (len(column) - 1) for column in ordered]
    tallest = max(heights, default=0.0)
    boxes: dict[str, Box] = {}
    x = margin
    for column, height in zip(ordered, heights, strict=True):
        y = margin + (tallest - height) / 2
        for node in column:
            boxes[node] = Box(x, y, *sizes[node])
            y += sizes[node][1] + gap_y
        x += max(sizes[n][0] for n in column) + gap_x
    return boxes


def arranged(
    sizes: Mapping[str, tuple[float, float]],
    edges: Iterable[tuple[str, str]],
    across: float = 940,
    gap: float = 22,
    margin: float = 10,
) -> dict[str, Box]:
    """``layers`` of the nodes that are joined; below them the others in rows at most ``across`` wide."""
    edges = [(a, b) for a, b in edges if a != b]
    joined = {node for edge in edges for node in edge}
    boxes = layers({node: size for node, size in sizes.items() if node in joined}, edges)
    x, y = margin, max((box.y + box.height + gap for box in boxes.values()), default=margin)
    row_height = 0.0
    for node in sorted((n for n in sizes if n not in joined), key=lambda n: sizes[n][1]):
        width, height = sizes[node]
        if x > margin and x + width > across:
            x, y, row_height = margin, y + row_height + gap, 0.0
        boxes[node] = Box(x, y, width, height)
        x += width + gap
        row_height = max(row_height, height)
    return boxes
