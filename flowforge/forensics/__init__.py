"""Forensics: what happened to runs, as pandas frames, figures and findings in words.

    from flowforge import forensics as fx

    fx.connect()                      # the configured database, read-only; or a bundle: fx.connect("incident.ffz")
    fx.tell(fx.findings("1h"))        # what happened in the last hour
    fx.run("@last-failed")            # a run, as a card

Every frame has the columns that `fx.columns(NAME)` lists, in this order and with these dtypes, also when it is empty.
Times are in UTC; `_s` is seconds. Questions about many runs take the filters of `flowforge ps`.
"""

from __future__ import annotations

from typing import Any

try:
    import pandas as pd
except ImportError as _missing:
    raise ImportError("flowforge.forensics needs pandas: pip install 'flowforge[notebooks]'") from _missing

from flowforge.forensics import attempts as _attempts
from flowforge.forensics import compare as _compare
from flowforge.forensics import effects as _effects
from flowforge.forensics import failures as _failures
from flowforge.forensics import findings as _findings
from flowforge.forensics import frames as _frames
from flowforge.forensics import latency as _latency
from flowforge.forensics import phases as _phases
from flowforge.forensics import queues as _queues
from flowforge.forensics import runs as _runs
from flowforge.forensics import storms as _storms
from flowforge.forensics import traits as _traits
from flowforge.forensics import view as _view
from flowforge.forensics import workers as _workers
from flowforge.forensics.attempts import attempts, events, steps
from flowforge.forensics.compare import compare, differences, pair, replay_diff
from flowforge.forensics.effects import duplicates, repeated
from flowforge.forensics.export import export_bundle
from flowforge.forensics.failures import cluster_errors, errors
from flowforge.forensics.findings import findings, tell
from flowforge.forensics.latency import latency, trend
from flowforge.forensics.phases import critical_path, phases, slack, timeline
from flowforge.forensics.postmortem import contrast, postmortem
from flowforge.forensics.queues import gates, outbox_lag, queue_depth
from flowforge.forensics.runs import runs, versions
from flowforge.forensics.scenarios import SCENARIOS, Scenario, scenario
from flowforge.forensics.source import connect, open_source
from flowforge.forensics.storms import retry_storms
from flowforge.forensics.traits import traits, waits
from flowforge.forensics.view import RunView, run
from flowforge.forensics.widths import bucket
from flowforge.forensics.workers import lease_expiries, workers

# What stands between dollars in a payload is no formula.
pd.set_option("display.html.use_mathjax", False)  # noqa: FBT003 - the option's signature

#: The columns of each function's frame, by its name.
_COLUMNS: dict[str, _frames.Columns] = {
    "runs": _runs.RUNS,
    "versions": _runs.VERSIONS,
    "steps": _attempts.STEPS,
    "attempts": _attempts.ATTEMPTS,
    "events": _attempts.EVENTS,
    "summary": _view.SUMMARY,
    "phases": _phases.PHASES,
    "timeline": _phases.TIMELINE,
    "critical_path": _phases.CRITICAL_PATH,
    "slack": _phases.SLACK,
    "compare": _compare.COMPARE,
    "differences": _compare.DIFFERENCES,
    "replay_diff": _compare.REPLAY_DIFF,
    "latency": _latency.latency_columns(),
    "trend": _latency.TREND,
    "queue_depth": _queues.QUEUE_DEPTH,
    "outbox_lag": _queues.OUTBOX_LAG,
    "gates": _queues.GATES,
    "workers": _workers.WORKERS,
    "lease_expiries": _workers.LEASE_EXPIRIES,
    "retry_storms": _storms.RETRY_STORMS,
    "errors": _failures.ERRORS,
    "clusters": _failures.CLUSTERS,
    "duplicates": _effects.DUPLICATES,
    "repeated": _effects.REPEATED,
    "traits": _traits.TRAITS,
    "waits": _traits.WAITS,
    "findings": _findings.FINDINGS,
}

__all__ = [
    "SCENARIOS",
    "RunView",
    "Scenario",
    "attempts",
    "bucket",
    "cluster_errors",
    "columns",
    "compare",
    "connect",
    "contrast",
    "critical_path",
    "differences",
    "duplicates",
    "errors",
    "events",
    "export_bundle",
    "findings",
    "gates",
    "latency",
    "lease_expiries",
    "open_source",
    "outbox_lag",
    "pair",
    "phases",
    "plot",
    "postmortem",
    "queue_depth",
    "repeated",
    "replay_diff",
    "retry_storms",
    "run",
    "runs",
    "scenario",
    "slack",
    "steps",
    "tell",
    "timeline",
    "traits",
    "trend",
    "versions",
    "waits",
    "workers",
]


def columns(name: str) -> pd.DataFrame:
    """Return what the columns of a function's frame are: name, dtype, meaning."""
    from flowforge.errors import UsageError

    if name not in _COLUMNS:
        raise UsageError(f"there is no frame '{name}'", hint=f"there are: {', '.join(_COLUMNS)}")
    return _frames.described(_COLUMNS[name])


def __getattr__(name: str) -> Any:
    """Import the figures when they are first asked for: they take as long as everything else together."""
    if name != "plot":
        raise AttributeError(f"module 'flowforge.forensics' has no attribute '{name}'")
    from importlib import import_module

    return import_module("flowforge.forensics.plot")
