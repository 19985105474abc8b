"""Bundles on disk: an archive with the capsule of each run; the one place that knows how they are written.

    manifest.json         schema, exported_at, number of runs
    runs/<id>.capsule     as `flowforge export` writes it

A capsule alone can be read as well. Nothing in either is believed before it was checked, and nothing is executed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from flowforge.errors import UsageError
from flowforge.forensics.source import Case
from flowforge.model.capsule import Capsule, family
from flowforge.model.documents import rfc3339
from flowforge.model.unpacking import MAX_FILE, unpack

SCHEMA = "flowforge/bundle/v1"
MANIFEST, FOLDER, ENDING = "manifest.json", "runs/", ".capsule"
_HINT = "fx.export_bundle(runs, 'incident.ffz') writes one, and flowforge export RUN -o FILE a capsule"


def write(path: Path, capsules: Iterable[Capsule], exported_at: datetime) -> int:
    """Write a bundle; return how many runs it has."""
    count = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for capsule in capsules:
            archive.writestr(f"{FOLDER}{capsule.run.id}{ENDING}", capsule.pack())
            count += 1
        manifest = {"schema": SCHEMA, "exported_at": rfc3339(exported_at), "runs": count}
        archive.writestr(MANIFEST, json.dumps(manifest))
    return count


def read(path: Path) -> tuple[list[Case], datetime]:
    """Return the runs of a bundle or capsule, and when it was exported."""
    try:
        if zipfile.is_zipfile(path):
            return _archive(path)
        whole = unpack(path.read_bytes(), name=str(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint=_HINT) from error
    return [Case(one) for one in family(whole)], whole.exported_at


def _archive(path: Path) -> tuple[list[Case], datetime]:
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if one.filename.startswith(FOLDER)]
        if not members:
            raise UsageError(f"{path} is not a bundle: there are no runs in it", hint=_HINT)
        found = []
        for member in members:
            if member.file_size > MAX_FILE:
                raise UsageError(f"{path}: {member.filename} is larger than {MAX_FILE:,} bytes, which no capsule is")
            found.append(unpack(archive.read(member), name=f"{path}: {member.filename}"))
    return [Case(one) for one in found], max(one.exported_at for one in found)
