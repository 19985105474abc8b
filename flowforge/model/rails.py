"""Rails: a graph drawn as lines of text, one node per row, edges as lanes on its left.

A lane leads from a node down to one that waits for it; lanes fork below a node and join above the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Lanes side by side; a wider graph is listed instead of drawn.
MAX_LANES = 24

_ASCII = str.maketrans("●│─├┤┬┴┼╮╯", "*|-++++++'")


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


def _successors(dependencies: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
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
