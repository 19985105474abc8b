"""Bundles: runs with their history in one file, to be asked later, elsewhere, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowforge.client import bundles
from flowforge.errors import NotFound
from flowforge.forensics.filters import Runs, run_ids
from flowforge.forensics.source import Source, current
from flowforge.model.masking import Mask


def export_bundle(
    runs: Runs, path: str | Path, *, redact: Sequence[str] | None = (), source: Source | None = None
) -> Path:
    """Write runs (a run's id, ids, or a frame of runs) with their history to a file; return its path.

    Values of fields whose names say that they are nobody else's business (password, token, iban …) are taken out, as
    `flowforge export` does it; *redact* names more of them, None keeps everything. `fx.connect(path)` opens the file,
    and so does `flowforge import`; a single run is written as its capsule, which `flowforge show` takes as well.
    """
    chosen = source or current()
    ids = [chosen.resolve(runs)] if isinstance(runs, str) else [str(one) for one in dict.fromkeys(run_ids(runs) or ())]
    if not ids:
        raise NotFound("there is no run to export", hint="fx.runs(...) returns what can be")
    target = Path(path)
    found = (chosen.case(one).capsule for one in ids)
    bundles.write(found if redact is None else map(Mask(redact).capsule, found), target, chosen.now())
    return target
