"""Doing something to runs: which of them it can be done to, asking, doing it, and saying what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from flowforge.errors import FlowforgeError
from flowforge.model.overview import RunSummary
from flowforge.model.text import one_line, short_id
from flowforge_streams.errors import StreamError
from flowforge_tui.actions.verbs import VERBS, Field, Values, Verb, command, perform
from flowforge_tui.modals.confirm import Question

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp

#: Runs that are read for what would happen to them; of more, only these are looked at.
LOOKED_AT = 20
#: Runs of a workflow that are named.
NAMED = 4


class Decided(NamedTuple):
    """What is to be done."""

    verb: Verb
    runs: Sequence[RunSummary]
    values: Values
    #: The list they were marked in, if they were.
    marked_in: Any


async def prepare(app: TopApp, name: str) -> Decided | None:
    """Find out what could be done to the runs that the screen is about, and ask; None where nothing is to be done."""
    if app.withheld is not None:
        app.notify(app.withheld, severity="warning")
    else:
        try:
            return await _prepare(app, name, *await _targets(app))
        except (FlowforgeError, StreamError) as error:
            app.notify(explained(error), title=f"cannot {name}", severity="error")
    return None


async def _prepare(app: TopApp, name: str, chosen: Sequence[RunSummary], step: str | None) -> Decided | None:
    if name == "hold":
        name = "resume" if chosen and all(run.status.value == "paused" for run in chosen) else "pause"
    verb, screen = VERBS[name], app.screen
    able = [run for run in chosen if verb.hinders(run) is None]
    if not able:
        why = verb.hinders(chosen[0]) if chosen else "there is no run here"
        app.notify(f"cannot {name}: {why}", severity="warning")
        return None
    values: Values | None = {}
    if verb.confirms or len(able) > 1:
        values = await app.ask(await _question(app, verb, able, chosen, step))
    return None if values is None else Decided(verb, able, values, screen)


async def _targets(app: TopApp) -> tuple[list[RunSummary], str | None]:
    """Return what the screen is about: runs of a list, or the run and the step of a screen of one run."""
    screen: Any = app.screen
    if (targets := getattr(screen, "targets", None)) is not None:
        return list(targets()), None
    run_id = getattr(screen, "run_id", None)
    found = await app.client.summaries([run_id]) if isinstance(run_id, UUID) else []
    return found, getattr(screen, "selected_step", None)


async def _question(
    app: TopApp, verb: Verb, able: Sequence[RunSummary], chosen: Sequence[RunSummary], step: str | None
) -> Question:
    """Say what would happen, and ask what has to be known."""
    runs = [await app.client.get(run.id) for run in able[:LOOKED_AT]]
    effects = [_names(able), *verb.effects(runs)]
    if len(able) > LOOKED_AT:
        effects.append(f"The figures are those of the first {LOOKED_AT}.")
    if left := len(chosen) - len(able):
        out = next(verb.hinders(run) for run in chosen if verb.hinders(run) is not None)
        alone = left == 1
        effects.append(f"{left} of {len(chosen)} {'is left out' if alone else 'are left out; the first'}: {out}.")
    fields: Sequence[Field] = verb.fields(runs[0], step) if len(able) == 1 else _shared(verb)
    ids = [run.id if len(able) == 1 else short_id(run.id) for run in able]
    title = f"{verb.title} {f'{len(able)} runs' if len(able) > 1 else f'run {short_id(able[0].id)}'}?"
    return Question(
        title,
        effects,
        verb.title.split()[0],
        verb.safe,
        len(able),
        fields,
        verb.reason,
        lambda v: command(verb, ids, v),
    )


def _names(runs: Sequence[RunSummary]) -> str:
    """Return runs by their workflows, a few of each."""
    flows: dict[str, list[str]] = {}
    for run in runs:
        flows.setdefault(run.workflow, []).append(short_id(run.id))
    named = [
        f"{one_line(flow, 60)} {', '.join(ids[:NAMED])}{f' and {len(ids) - NAMED} more' if len(ids) > NAMED else ''}"
        for flow, ids in flows.items()
    ]
    return one_line(", ".join(named), 400)


def _shared(verb: Verb) -> Sequence[Field]:
    """Return what is asked once for several runs."""
    if verb.name == "signal":
        return (Field("name", "Signal", required=True), Field("payload", "Payload", "null", json=True))
    return (Field("from_step", "From step"),) if verb.name == "replay" else ()


async def carry_out(app: TopApp, decided: Decided) -> None:
    """Do it to one run after the other, and say what came of it."""
    verb, runs, values, screen = decided
    failures: list[str] = []
    for no, run in enumerate(runs, 1):
        try:
            await perform(app.client, verb, run, values)
        except (FlowforgeError, StreamError) as error:
            failures.append(explained(error))
        if no % 50 == 0:
            app.notify(f"{no} of {len(runs)}", title=verb.title, timeout=2)
    app.live.touch([run.id for run in runs])
    unmark = getattr(screen, "unmark", None)
    if unmark is not None and not failures:
        unmark()
    done = len(runs) - len(failures)
    if done:
        what = f"{runs[0].workflow} {short_id(runs[0].id)}" if len(runs) == 1 else f"{done} runs"
        app.notify(f"✓ {what}: {verb.done}")
    if failures:
        many = f"{len(failures)} of {len(runs)}: " if len(runs) > 1 else ""
        app.notify(f"{many}{failures[0]}", title=f"cannot {verb.name}", severity="error", timeout=8)


def explained(error: Exception) -> str:
    """Return an error on one line, with what to do about it."""
    hint = getattr(error, "hint", None)
    return one_line(f"{error}{f'; {hint}' if hint else ''}", 300)
