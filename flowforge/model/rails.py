"""Rails: a graph drawn as lines of text, one node per row, edges as lanes on its left.

A lane leads from a node down to one that waits for it; lanes fork below a node and join above the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

#: Lanes side by side; a wider graph is listed instead of drawn.
MAX_LANES = 24

_ASCII = str.maketrans("●│─├┤┬┴┼╮╯╰", "*|-++++++'`")


class Rail(NamedTuple):
    """A node of a drawing with one row for each node."""

    no: int
    #: What stands left of the node, its mark included, and left of what belongs to it on the rows below.
    mark: str
    below: str


def draw(
    dependencies: Mapping[int, Sequence[int]], labels: Mapping[int, Sequence[str]], *, unicode: bool = True
) -> list[str]:
    """Return the lines of the drawing; further labels of a node stand below its first."""
    order = _depth_first(dependencies)
    lines = _rails(order, dependencies, labels)
    if lines is None:
        lines = _listing(order, dependencies, labels)
    return [line.rstrip() if unicode else line.rstrip().translate(_ASCII) for line in lines]


def _depth_first(dependencies: Mapping[int, Sequence[int]]) -> list[int]:
    """A topological order that stays on one path as long as it can, so that lanes are short."""
    waiting = {no: len(sources) for no, sources in dependencies.items()}
    successors = _successors(dependencies)
    pending = [no for no in reversed(list(dependencies)) if waiting[no] == 0]
    order: list[int] = []
    while pending:
        no = pending.pop()
        order.append(no)
        for successor in reversed(successors[no]):
            waiting[successor] -= 1
            if waiting[successor] == 0:
                pending.append(successor)
    return order


def _successors(dependencies: Mapping[int, Collection[int]]) -> dict[int, list[int]]:
    successors: dict[int, list[int]] = {no: [] for no in dependencies}
    for no, sources in dependencies.items():
        for source in sources:
            successors[source].append(no)
    return successors


def _rails(
    order: list[int], dependencies: Mapping[int, Sequence[int]], labels: Mapping[int, Sequence[str]]
) -> list[str] | None:
    successors = _successors(dependencies)
    place = {no: at for at, no in enumerate(order)}
    lanes: list[int | None] = []
    lines: list[str] = []
    for no in order:
        arriving = [at for at, target in enumerate(lanes) if target == no]
        column = arriving[0] if arriving else _free(lanes)
        if len(arriving) > 1:
            lines.append(_bend(lanes, column, arriving[1:], "╯"))
        for at in arriving[1:]:
            lanes[at] = None
        lanes[column] = no
        _trim(lanes)
        first, *others = labels[no]
        lines.append(_row(lanes, column, "●") + first)
        leaving = sorted(successors[no], key=lambda target: place[target])
        lanes[column] = leaving[0] if leaving else None
        lines += [_row(lanes, column, "│" if leaving else " ") + other for other in others]
        opened = []
        for target in leaving[1:]:
            at = _free(lanes)
            opened.append(at)
            lanes[at] = target
        if len(lanes) > MAX_LANES:
            return None
        if opened:
            lines.append(_bend(lanes, column, opened, "╮"))
        _trim(lanes)
    return lines


def _trim(lanes: list[int | None]) -> None:
    while lanes and lanes[-1] is None:
        lanes.pop()


def _free(lanes: list[int | None]) -> int:
    if None not in lanes:
        lanes.append(None)
    return lanes.index(None)


def _row(lanes: list[int | None], column: int, mark: str) -> str:
    cells = [mark if at == column else "│" if target is not None else " " for at, target in enumerate(lanes)]
    return " ".join(cells) + "  "


def _bend(lanes: list[int | None], column: int, ends: list[int], corner: str) -> str:
    """A line from *column* to each of *ends*, over the lanes between them."""
    left, right = min(column, *ends), max(column, *ends)
    through = "┬" if corner == "╮" else "┴"
    cells = []
    for at, target in enumerate(lanes):
        inside = left <= at <= right
        if at == column:
            cell = "├" if at == left else "┤" if at == right else "┼"
        elif at in ends:
            cell = "├" if at == left else corner if at == right else through
        elif target is not None:
            cell = "│"
        else:
            cell = "─" if inside else " "
        cells.append(cell + ("─" if left <= at < right else " "))
    return "".join(cells)


def _listing(
    order: list[int], dependencies: Mapping[int, Sequence[int]], labels: Mapping[int, Sequence[str]]
) -> list[str]:
    lines = []
    for no in order:
        first, *others = labels[no]
        names = [labels[source][0].split("  ")[0] for source in dependencies[no]]
        shown = ", ".join(names[:8]) + (f", {len(names) - 8} more" if len(names) > 8 else "")  # noqa: PLR2004
        lines.append(f"● {first}" + (f"  after {shown}" if names else ""))
        lines += [f"  {other}" for other in others]
    return lines


def rows(dependencies: Mapping[int, Collection[int]], *, most: int = MAX_LANES) -> list[Rail]:
    """Return the nodes, each on one row, so that something else can stand on the same row; *most* lanes side by side.

    A lane belongs to a node here and leads down to those that wait for it; the last of them takes its place.
    """
    order = _depth_first({no: list(dict.fromkeys(sources)) for no, sources in dependencies.items()})
    open_edges = {no: len(set(targets)) for no, targets in _successors(dependencies).items()}
    lanes: list[int | None] = []
    ended: int | None = None
    drawn: list[Rail] = []
    for no in order:
        sources = {at: source for at, source in enumerate(lanes) if source is not None and source in dependencies[no]}
        for source in sources.values():
            open_edges[source] -= 1
        arriving = list(sources)
        ending = [at for at, source in sources.items() if open_edges[source] == 0]
        column = ending[0] if ending else _beside(lanes, arriving, ended)
        if column >= most:
            return [Rail(no, "●", " ") for no in order]
        mark = _joined(lanes, column, arriving, ending)
        for at in ending:
            lanes[at] = None
        lanes += [None] * (column + 1 - len(lanes))
        lanes[column] = no if open_edges[no] else None
        ended = None if open_edges[no] else column
        _trim(lanes)
        below = " ".join(" " if source is None else "│" for source in lanes)
        drawn.append(Rail(no, mark, below))
    return drawn


def _beside(lanes: list[int | None], arriving: list[int], ended: int | None) -> int:
    """A free lane right of those that arrive; a node without any does not stand right below one that ended."""
    first = arriving[-1] + 1 if arriving else 0
    avoided = None if arriving else ended
    free = (at for at in range(first, len(lanes)) if lanes[at] is None and at != avoided)
    after = max(len(lanes), first)
    return next(free, after + 1 if after == avoided else after)


def _joined(lanes: list[int | None], column: int, arriving: list[int], ending: list[int]) -> str:
    """A node's row: lines from the lanes that arrive to the node, over those that only pass."""
    left, right = min([column, *arriving]), max([column, *arriving])
    cells = []
    for at in range(max(len(lanes), column + 1)):
        passing = at < len(lanes) and lanes[at] is not None
        if at == column:
            cell = "●"
        elif at in arriving:
            ends = at in ending
            cell = (
                ("╰" if ends else "├")
                if at == left
                else ("╯" if ends else "┤")
                if at == right
                else "┴"
                if ends
                else "┼"
            )
        else:
            cell = "│" if passing else "─" if left < at < right else " "
        cells.append(cell + ("─" if left <= at < right else " "))
    return "".join(cells).rstrip()


def ascii_only(text: str) -> str:
    """Return a drawing for a terminal that has no line characters."""
    return text.translate(_ASCII)
