"""The latency ledger: what every moment of a run went into, by step and for the run as a whole.

Pure, from the history alone. Times are those of the events, which are the database's; a time that goes back between
two events of different workers is taken as no time. Invariant: the parts of a run sum exactly to its wall time, and
the phases of a step neither overlap nor leave a gap while the step is open.

What the history does not say is attributed so:

- When the relay published a dispatch is not recorded: a dispatch that is in the outbox now is `outbox`, and the time
  from `step.queued` to `step.started` of one that was claimed is all `queue`.
- When a worker died: an attempt that was lost, or handed back, is `infrastructure` from its claim until that was
  noticed, because what it did is done again. The wait for the next worker is `queue`.
- What undoes a step is `compensation` while it executes; for the run, all of the undoing is.
- What a paused run holds back is `paused`; what executes or waits for a time goes on and is counted as that.

At every moment the run has one kind, the first of these that there is:

1. what it is as a whole: at its gate, undoing, or over until an operator let it go on;
2. what the step on the critical path is in: making anything else faster would not have helped;
3. what any step is in, by flowforge.model.critical.PRECEDENCE;
4. paused, if an operator holds it; else blocked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from flowforge.model.critical import NOT_ITS_OWN, PRECEDENCE, critical_path
from flowforge.model.event import Event
from flowforge.model.phase import Kind, Phase, Phases, Stretch
from flowforge.model.plan import Plan
from flowforge.model.timeline import Timeline, Track

_WHOLE = frozenset({Kind.GATE, Kind.COMPENSATION, Kind.ENDED})
#: Places in the order of what a moment counts as: the run as a whole, the critical path, any step, a paused run.
_RUN, _PATH, _STEP, _HELD = 0, 1, 2, 99


def phases(
    events: Iterable[Event], plan: Plan, until: datetime, *, unpublished: frozenset[str] = frozenset()
) -> Phases:
    """Return where the time of a run went up to a moment; what happened later is left out.

    *unpublished* names the steps whose dispatch is still in the outbox.
    """
    timeline = Timeline(plan)
    for event in events:
        if event.at > until:
            break
        timeline.add(event)
    end = timeline.end(until, unpublished)
    start = timeline.created or end
    steps = {name: tuple(track.phases) for name, track in timeline.steps.items() if track.phases}
    path = critical_path(plan, steps)
    layers = [*_run_layers(timeline.run), *_path_layers(steps, path), *_step_layers(steps)]
    return Phases(start, end, _attributed(layers, start, end), _in_order(plan, steps), path)


def _in_order(plan: Plan, steps: Mapping[str, tuple[Phase, ...]]) -> dict[str, tuple[Phase, ...]]:
    first = {step.id: steps[step.id] for step in plan.steps if step.id in steps}
    return first | {name: found for name, found in steps.items() if name not in first}


def _run_layers(run: Track) -> list[tuple[int, Phase]]:
    return [(_RUN if phase.kind in _WHOLE else _HELD, phase) for phase in run.phases]


def _path_layers(steps: Mapping[str, tuple[Phase, ...]], path: tuple[Stretch, ...]) -> list[tuple[int, Phase]]:
    wanted: dict[str, list[Stretch]] = {}
    for stretch in path:
        wanted.setdefault(stretch.step, []).append(stretch)
    return [
        (_PATH, phase)
        for name, stretches in wanted.items()
        for phase in steps[name]
        if phase.kind not in NOT_ITS_OWN
        and any(stretch.start <= phase.start and phase.end <= stretch.end for stretch in stretches)
    ]


def _step_layers(steps: Mapping[str, tuple[Phase, ...]]) -> list[tuple[int, Phase]]:
    order = {kind: _STEP + place for place, kind in enumerate(PRECEDENCE)}
    return [(order[phase.kind], phase) for found in steps.values() for phase in found if phase.kind not in NOT_ITS_OWN]


def _attributed(layers: list[tuple[int, Phase]], start: datetime, end: datetime) -> tuple[Phase, ...]:
    """Go through all changes in order of time; between two of them the first layer that there is counts."""
    changes = sorted(
        change
        for layer, phase in layers
        for change in ((phase.start, layer, phase.kind, 1), (phase.end, layer, phase.kind, -1))
    )
    active: dict[tuple[int, Kind], int] = {}
    found: list[Phase] = []
    at = start
    for moment, layer, kind, change in changes:
        if moment > at:
            _extend(found, min(active)[1] if active else Kind.BLOCKED, at, moment)
            at = moment
        count = active.get((layer, kind), 0) + change
        if count:
            active[layer, kind] = count
        else:
            active.pop((layer, kind), None)
    if end > at:
        _extend(found, Kind.BLOCKED, at, end)
    return tuple(found)


def _extend(found: list[Phase], kind: Kind, start: datetime, end: datetime) -> None:
    if found and found[-1].kind is kind:
        found[-1] = found[-1]._replace(end=end)
    else:
        found.append(Phase(kind, start, end))
