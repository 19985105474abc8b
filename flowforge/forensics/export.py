"""Bundles: runs with their history in one file, to be asked later, elsewhere, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowforge.errors import NotFound, UsageError
from flowforge.forensics import capsules
from flowforge.forensics.filters import Runs, run_ids
from flowforge.forensics.source import Source, current
from flowforge.model.masking import Mask


def export_bundle(
    runs: Runs, path: str | Path, *, redact: Sequence[str] | None = (), source: Source | None = None
) -> Path:
    """Write runs (a run's id, ids, or a frame of runs) with their history to a file; return its path.

    Values of fields whose names say that they are nobody else's business (password, token, iban …) are taken out, as
    `flowforge export` does it; *redact* names more of them, None keeps everything. `fx.connect(path)` opens the file.
    """
    chosen = source or current()
    ids = [chosen.resolve(runs)] if isinstance(runs, str) else [str(one) for one in run_ids(runs) or ()]
    if not ids:
        raise NotFound("there is no run to export", hint="fx.runs(...) returns what can be")
    target = Path(path)
    found = (chosen.case(one).capsule for one in ids)
    try:
        capsules.write(target, found if redact is None else map(Mask(redact).capsule, found), chosen.now())
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    return target
