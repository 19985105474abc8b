"""Effects outside: which may have happened twice, and what the other side says about it.

FlowForge commits one result for each step, and gives every attempt of it the same idempotency key. Whether the other
side honours the key, only the other side knows: an attempt whose answer never came may have had its effect. These are
the steps to ask about; given the other side's own list, they are not guesses any more.
"""

from __future__ import annotations

from typing import Any, Unpack

import pandas as pd

from flowforge.errors import UsageError
from flowforge.forensics import frames, tallies_effects
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, text, time
from flowforge.forensics.source import Question, Source, ask
from flowforge.store.forensics import statements

#: Step types that do something outside.
EFFECTFUL = ("http", "python", "agent", "notification", "workflow")
#: Codes of errors that do not say whether the effect happened.
UNKNOWN = ("TIMEOUT", "NETWORK", "WORKER_LOST", "POISON", "CRASHED", "HTTP_502", "HTTP_504")
#: In the text of such an error: nothing was sent, so nothing happened.
UNSENT = ": cannot connect"

DUPLICATES = {
    "key": text("the idempotency key that every attempt carried"),
    "run": text("the run"),
    "workflow": text("its workflow"),
    "version": number("version of the workflow"),
    "step": text("the step"),
    "type": text("its type"),
    "executions": number("attempts that reached the step's executor"),
    "completed": number("of them completed: more than one means that it was repeated after it was done"),
    "unknown": number("of them ended without telling whether the effect happened"),
    "effects": number("effects that the other side counts for the key; missing where it was not asked"),
    "verdict": text("duplicate: counted twice or completed twice; possible: nobody asked the other side; single"),
    "codes": text("codes of the errors in between"),
    "first_at": time("when the first attempt began"),
    "last_at": time("when the last attempt began"),
}
REPEATED = {
    "workflow": text("the workflow"),
    "input_md5": text("digest of the input"),
    "starts": number("runs that were started with it"),
    "keys": number("different idempotency keys among them"),
    "first_at": time("when the first was accepted"),
    "last_at": time("when the last was accepted"),
    "first_run": text("the first"),
    "last_run": text("the last"),
}

_DUPLICATES = Question(statements.DUPLICATES, tallies_effects.duplicates)
_REPEATED = Question(statements.REPEATED, tallies_effects.repeated)


def duplicates(
    since: Moment = None,
    *,
    runs: Runs = None,
    effects: pd.DataFrame | None = None,
    limit: int = 1000,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return the effects that were, or may have been, seen twice for one idempotency key, newest first.

    *effects* is the other side's list, a row for each effect with a column `key`: the idempotency keys it was called
    with. Columns: `fx.columns("duplicates")`.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    found = ask(_DUPLICATES, given, source, unknown=list(UNKNOWN), unsent=UNSENT, types=list(EFFECTFUL), limit=limit)
    if len(found):
        found["key"] = found["run"].astype(str) + ":" + found["step"].astype(str)
    made = frames.frame(found, DUPLICATES)
    if effects is not None:
        if "key" not in effects:
            raise UsageError("the list of effects has no column 'key'", hint="the Idempotency-Key of each call")
        counted = effects["key"].astype(str).value_counts()
        made["effects"] = made["key"].map(counted).fillna(0).astype("Int64")
    made["verdict"] = [_verdict(*row) for row in zip(made["completed"], made["effects"], strict=True)]
    return frames.frame(made, DUPLICATES)


def repeated(
    since: Moment = None,
    *,
    runs: Runs = None,
    limit: int = 100,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return inputs that several runs of a workflow were started with, the most often first.

    Replays and child runs do not count. Whether it was meant, only who started them knows; an idempotency key would
    have made them one run. Columns: `fx.columns("repeated")`.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    return frames.frame(ask(_REPEATED, given, source, limit=limit), REPEATED)


def _verdict(completed: int, counted: Any) -> str:
    if not pd.isna(counted):
        return "duplicate" if counted > 1 else "single"
    return "duplicate" if completed > 1 else "possible"
