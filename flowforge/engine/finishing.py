"""The output of a run that has completed all its steps.

Made in the transaction that completes the run, so a completed run always has its output. An output that cannot be
made fails the run with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowforge.engine.context import ContextLoader, seen
from flowforge.errors import ExpressionError
from flowforge.model import endings
from flowforge.model.json import InvalidJson, decode, encode
from flowforge.model.outcome import StepError
from flowforge.model.status import StepStatus
from flowforge.model.turn import NeedsWholeRun, Turn
from flowforge.store.database import Connection


async def finish(connection: Connection, turns: Sequence[Turn]) -> list[Turn]:
    """Complete runs whose steps are all final, reading those outputs that were not decided just now.

    Return those that have to be decided again on the whole run: their output cannot be made, and there is something
    to undo.
    """
    loader = ContextLoader()
    late: list[Turn] = []
    for turn in turns:
        plan = turn.plan
        last = turn.steps.get(plan.last[0]) if plan.output is None and len(plan.last) == 1 else None
        if last is not None and last.output:
            endings.complete(turn, _object({plan.steps[last.no].id: last.output}))
            continue
        late.append(turn)
        numbers = plan.last if plan.output is None else plan.output_reads_steps
        loader.want_for(turn.before.id, numbers, reads_input=plan.output is not None and plan.output_reads_input)
    if late:
        await loader.load(connection)
    return [turn for turn in late if not _completed(turn, loader)]


def _completed(turn: Turn, loader: ContextLoader) -> bool:
    try:
        _complete(turn, loader)
    except NeedsWholeRun:
        return False
    return True


def _complete(turn: Turn, loader: ContextLoader) -> None:
    plan, run_id = turn.plan, turn.before.id
    numbers = plan.last if plan.output is None else plan.output_reads_steps
    known = loader.seen_steps(run_id, plan, numbers)
    for no in numbers:
        _add_decided(turn, loader, known, no)
    try:
        if plan.output is None:
            value: object = {name: item["output"] for name, item in known.items() if "output" in item}
        else:
            context = {"input": loader.input(run_id), "steps": known, "run": {"id": str(run_id)}}
            value = plan.output.render(context)
        endings.complete(turn, encode(value, max_bytes=turn.terms.max_run_bytes))
    except ExpressionError as error:
        endings.refuse_output(turn, StepError(code="OUTPUT_ERROR", message=str(error), retryable=False))
    except InvalidJson as error:
        message = f"the run's output {error}"
        endings.refuse_output(turn, StepError(code="INVALID_OUTPUT", message=message, retryable=False))


def _add_decided(turn: Turn, loader: ContextLoader, context: dict[str, Any], no: int) -> None:
    """Show what this very decision settled: it is not written yet, so it could not be read."""
    if no in turn.changed:
        state = turn.steps[no]
        completed = state.status is StepStatus.COMPLETED
        output = None
        if completed:
            output = loader.output(turn.before.id, no) if state.output is None else decode(state.output)
        context[turn.plan.steps[no].id] = seen(output, state.error, state.status.value)


def _object(texts: dict[str, str]) -> str:
    return "{" + ",".join(f"{encode(name)}:{text}" for name, text in texts.items()) + "}"
