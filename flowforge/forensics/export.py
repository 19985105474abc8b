"""Bundles: runs with their history in one file, to be asked later, elsewhere, without a server."""

from __future__ import annotations

from pathlib import Path

from flowforge.errors import NotFound
from flowforge.forensics import capsules
from flowforge.forensics.filters import Runs, run_ids
from flowforge.forensics.source import Source, current


def export_bundle(runs: Runs, path: str | Path, *, source: Source | None = None) -> Path:
    """Write runs (a run's id, ids, or a frame of runs) with their history to a file; return its path.

    Secrets never enter the history, so they are not in it either; payloads are. `fx.connect(path)` opens it.
    """
    chosen = source or current()
    ids = [chosen.resolve(runs)] if isinstance(runs, str) else [str(one) for one in run_ids(runs) or ()]
    if not ids:
        raise NotFound("there is no run to export", hint="fx.runs(...) returns what can be")
    target = Path(path)
    capsules.write(target, (chosen.case(one) for one in ids), chosen.now())
    return target
