"""The table of results, as text for a terminal and as Markdown, with what has to be said about single rows below it.

The goal of a comparison stands behind the ratio it is about: `31 (≥ 25)` times better, where 25 times were wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from flowforge_cli.text import width
from tests.benchmarks.figures import shown
from tests.benchmarks.results import PEERS, Row

HEADER = ("measure", "FlowForge", "goal", "met", *PEERS.values(), *(f"x {name}" for name in PEERS.values()))
#: Titles of the columns of figures, which stand right in their columns.
RIGHT = {HEADER[1], *HEADER[4:]}
MET = {True: "yes", False: "NO", None: "-"}
NOTHING = "-"


def cells(row: Row, *, doubtful: bool = False) -> list[str]:
    """Return one line of the table; a figure that is not to be trusted is marked."""
    value = shown(row.value, row.unit) + (" ~" if doubtful else "")
    peers = [shown(row.peers.get(peer), row.unit) for peer in PEERS]
    ratios = [_ratio(row, peer) for peer in PEERS]
    return [row.title, value, row.goal.text(row.unit) or NOTHING, MET[row.met], *peers, *ratios]


def _ratio(row: Row, peer: str) -> str:
    ratio, wanted = row.ratios.get(peer), row.goal.times.get(peer)
    text = shown(ratio, "x").removesuffix(" x")
    return text if wanted is None else f"{text} (≥ {wanted:g})"


def columns(rows: Sequence[Row], doubtful: Collection[str]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the lines, without the columns in which nothing was measured."""
    lines = [cells(row, doubtful=row.key in doubtful) for row in rows]
    used = [no for no in range(len(HEADER)) if any(not line[no].startswith(NOTHING) for line in lines)]
    return [HEADER[no] for no in used], [[line[no] for no in used] for line in lines]


def text(rows: Sequence[Row], doubtful: Collection[str] = ()) -> list[str]:
    """Return aligned lines."""
    header, lines = columns(rows, doubtful)
    return [*aligned(header, lines, RIGHT), "", *_remarks(rows, "  ")]


def aligned(header: Sequence[str], lines: Sequence[Sequence[str]], right: Collection[str]) -> list[str]:
    """Return lines whose cells stand below each other, with a rule below the header."""
    every = [header, *lines]
    widths = [max(width(line[no]) for line in every) for no in range(len(header))]

    def drawn(line: Sequence[str]) -> str:
        padded = []
        for title, cell, size in zip(header, line, widths, strict=True):
            gap = " " * (size - width(cell))
            padded.append(gap + cell if title in right else cell + gap)
        return "  ".join(padded).rstrip()

    first, *rest = map(drawn, every)
    return [first, "-" * max(map(width, (first, *rest))), *rest]


def markdown(rows: Sequence[Row], doubtful: Collection[str] = ()) -> list[str]:
    """Return the table for a README."""
    header, lines = columns(rows, doubtful)
    rule = ["---:" if title in RIGHT else "---" for title in header]
    drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (header, rule, *lines)]
    return [*drawn, "", *_remarks(rows, "- ")]


def _remarks(rows: Iterable[Row], bullet: str) -> list[str]:
    return [f"{bullet}{row.title}: {row.detail}" for row in rows if row.detail]
