"""Bundles as files: the capsules of many runs in one; read like a capsule, which is the bundle of a single run.

    manifest.json     schema, exported_at, number of runs
    runs/<id>.ffz     as `flowforge export` writes it

One run is written as its capsule, so that every command that takes a run's file takes it. Nothing in either is believed
before it was checked, and nothing is executed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from pathlib import Path

from flowforge.client import capsules
from flowforge.errors import CapsuleError
from flowforge.model.capsule import Capsule, family
from flowforge.model.documents import rfc3339
from flowforge.model.unpacking import MAX_FILE, unpack

SCHEMA = "flowforge/bundle/v1"
MANIFEST, FOLDER = "manifest.json", "runs/"
_HINT = "fx.export_bundle(runs, 'incident.ffz') writes a bundle, and flowforge export RUN -o FILE a capsule"


def write(found: Iterable[Capsule], path: Path, exported_at: datetime) -> int:
    """Write runs to a file, over one that is there; return how many they are."""
    ahead = iter(found)
    first, second = next(ahead), next(ahead, None)
    if second is None:
        capsules.write(first, path, force=True)
        return 1
    with capsules.replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        count = 0
        for count, capsule in enumerate(chain((first, second), ahead), 1):  # noqa: B007 - the last number counts
            archive.writestr(f"{FOLDER}{capsule.run.id}{capsules.SUFFIX}", capsule.pack())
        manifest = {"schema": SCHEMA, "exported_at": rfc3339(exported_at), "runs": count}
        archive.writestr(MANIFEST, json.dumps(manifest))
    return count


def read(path: str | Path) -> list[Capsule]:
    """Return the runs of a bundle or a capsule, with those that lie in them; CapsuleError says what is wrong."""
    path = Path(path)
    if not capsules.is_archive(path):
        return family(capsules.read(path))
    try:
        with zipfile.ZipFile(path) as archive:
            found = [_member(archive, one, path) for one in archive.infolist() if one.filename.startswith(FOLDER)]
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise CapsuleError(f"{path} is damaged: {error}", hint=_HINT) from error
    if not found:
        raise CapsuleError(f"{path} is not a bundle: there are no runs in it", hint=_HINT)
    return [one for capsule in found for one in family(capsule)]


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Capsule:
    if member.file_size > MAX_FILE:
        raise CapsuleError(f"{path}: {member.filename} is larger than {MAX_FILE:,} bytes, which no capsule is")
    return unpack(archive.read(member), name=f"{path}: {member.filename}")
