"""The gate before a publication, on the command line: which classes are accepted, progress, what differs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowforge_cli import render
from flowforge_cli.text import Row, Span, compact, short_id, table

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.divergence import Divergence, Verification


def classes(words: Iterable[str]) -> frozenset[Divergence]:
    """Return classes by name; several may stand in one word, separated by commas."""
    from flowforge.errors import UsageError
    from flowforge.model.divergence import Divergence

    found = set()
    for word in (part.strip() for text in words for part in text.split(",")):
        if word not in list(Divergence):
            raise UsageError(f"'{word}' is not a class of differences", hint=f"there are: {', '.join(Divergence)}")
        found.add(Divergence(word))
    return frozenset(found)


async def replayed(client: AsyncClient, source: Any, last: int, accept: frozenset[Divergence]) -> Verification:
    """Replay the last runs, telling how far that is."""

    def progress(done: int, of: int) -> None:
        render.progress(f"replaying {done:,} of {of:,} runs")

    try:
        return await client.verify(source, last, accept=accept, progress=progress)
    finally:
        render.progress_done()


def show(verification: Verification) -> None:
    """Say what was replayed and what differs."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in verification.left_out.items())
    beside = f", left out {left_out}" if left_out else ""
    if verification.version is None or not verification.replayed:
        render.warning(f"no finished run of '{verification.workflow}' can be replayed{beside}: nothing is verified")
        return
    name = f"{verification.workflow}@{verification.version}"
    render.say(f"replayed {verification.replayed} runs of {name}{beside}")
    if not verification.divergences:
        render.say([Span("each would come to the same", "ok")])
        return
    rows: list[Row] = [
        [
            Span(one.kind.value, "warn" if one.kind in verification.accepted else "bad"),
            one.step or "(the run)",
            str(one.count),
            f"{compact(one.before, 50)} -> {compact(one.after, 50)}",
            " ".join(short_id(run) for run in one.runs[:3]) + (" .." if one.count > 3 else ""),  # noqa: PLR2004
            "accepted" if one.kind in verification.accepted else "",
        ]
        for one in verification.divergences
    ]
    render.say(*table(("CLASS", "STEP", "RUNS", "EXAMPLE", "SUCH AS", ""), rows, indent="  "))
    if verification.refused:
        first = verification.divergences[0].runs[0]
        kinds = {one.kind: None for one in verification.divergences if one.kind not in verification.accepted}
        render.error(
            f"nothing is published: past runs of {name} would differ",
            f"look at one: flowforge show {short_id(first)}; or go ahead: "
            + " ".join(f"--accept {kind.value}" for kind in kinds),
        )
