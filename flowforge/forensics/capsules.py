"""Bundles on disk: one archive with a capsule for each run; the one place that knows how they are written.

Invariant: what is written is redacted as the history is (secrets never enter it), is read back without any server, and
nothing in it is executed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowforge.errors import UsageError
from flowforge.forensics.source import Case
from flowforge.model.documents import rfc3339

SCHEMA = "flowforge/bundle/v1"
CAPSULE = "flowforge/capsule/v1"
#: Bytes of one member that are read at all.
MOST = 512 * 1024 * 1024


def write(path: Path, cases: Iterable[Case], exported_at: datetime) -> int:
    """Write a bundle; return how many runs it has."""
    count = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for case in cases:
            archive.writestr(f"runs/{case.id}.json", _text(capsule(case, exported_at)))
            count += 1
        manifest = {"schema": SCHEMA, "exported_at": rfc3339(exported_at), "runs": count}
        archive.writestr("manifest.json", _text(manifest))
    return count


def capsule(case: Case, exported_at: datetime) -> dict[str, Any]:
    """Return a run as the document of its capsule."""
    return {
        "schema": CAPSULE,
        "exported_at": rfc3339(exported_at),
        "run": case.run,
        "events": case.events,
        "definition": case.definition,
        "logs": case.logs,
    }


def read(path: Path) -> tuple[list[Case], datetime]:
    """Return the runs of a bundle or capsule, and when it was exported."""
    try:
        if zipfile.is_zipfile(path):
            return _archive(path)
        document = json.loads(path.read_bytes())
        return [_case(document)], _when(document)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path} is not a bundle: {error}", hint="fx.export_bundle(run, 'incident.ffz') writes one"
        ) from error


def _archive(path: Path) -> tuple[list[Case], datetime]:
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if one.filename.startswith("runs/")]
        documents = [_member(archive, one) for one in members]
        manifest = _member(archive, archive.getinfo("manifest.json"))
    return [_case(one) for one in documents], _when(manifest)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    if member.file_size > MOST:
        raise ValueError(f"{member.filename} is larger than {MOST:,} bytes")
    return json.loads(archive.read(member))


def _case(document: Mapping[str, Any]) -> Case:
    return Case(document["run"], document["events"], document.get("definition"), document.get("logs") or [])


def _when(document: Mapping[str, Any]) -> datetime:
    text = document.get("exported_at")
    return datetime.fromisoformat(text) if text else datetime.now(UTC)


def _text(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
