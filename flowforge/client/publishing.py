"""Publishing: from a file, a mapping or a Workflow to a numbered version, and from a target to its plan.

The same content is never published twice: its digest is that of the newest version.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flowforge.engine.engine import Engine
from flowforge.engine.plans import PlannedVersion
from flowforge.errors import Conflict, DefinitionError, NotFound, UsageError
from flowforge.model.documents import Published
from flowforge.model.plan import Plan
from flowforge.steps.registry import config_schema
from flowforge.store import workflows
from flowforge.store.database import Connection
from flowforge.store.workflows import Version

if TYPE_CHECKING:
    from flowforge.model.load import Loaded

#: Bytes of a definition file.
MAX_FILE = 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".json")


async def publish(engine: Engine, source: Any, *, draft: bool = False) -> tuple[Published, PlannedVersion]:
    """Store a definition as a published version, or as the workflow's draft."""
    from flowforge.model.load import canonical

    found = loaded(source)
    plan, warnings, definition = found.plan, tuple(found.warnings), canonical(found.workflow)
    async with engine.database.transaction() as connection:
        workflow_id = await workflows.ensure(connection, plan.name)
        newest = await workflows.latest(connection, plan.name)
        if newest is not None and newest.digest == plan.digest:
            kept = PlannedVersion(newest.id, workflow_id, newest.version, plan)
            engine.plans.keep(kept)
            return Published(plan.name, newest.version, plan.digest, created=False, warnings=warnings), kept
        # The draft's number goes to whatever is stored next.
        await workflows.drop_draft(connection, workflow_id)
        status = "draft" if draft else "published"
        version_id = await workflows.insert(
            connection, workflow_id, definition, plan.digest, _steps(plan), status=status
        )
        stored = await workflows.by_id(connection, version_id)
    if stored is None:
        raise LookupError(version_id)
    kept = PlannedVersion(version_id, workflow_id, stored.version, plan)
    engine.plans.keep(kept)
    published = Published(plan.name, stored.version, plan.digest, created=True, status=status, warnings=warnings)
    return published, kept


def loaded(source: Any) -> Loaded:
    """Return a definition that is a path, a mapping or a Workflow; DefinitionError has all that is wrong with it."""
    from flowforge.model.load import canonical, check, load

    if isinstance(source, str | Path):
        return load(read(Path(source)), filename=str(source), schemas=config_schema)
    return check(dict(source) if isinstance(source, Mapping) else canonical(source), schemas=config_schema)


async def publish_draft(engine: Engine, name: str) -> Published:
    """Publish a stored draft."""
    async with engine.database.transaction() as connection:
        await workflows.ensure(connection, name)
        draft = await workflows.latest(connection, name, status="draft")
        if draft is None:
            raise NotFound(f"workflow '{name}' has no draft", hint="flowforge workflow publish FILE")
        await workflows.publish_draft(connection, draft.id)
    return Published(name, draft.version, draft.digest, created=True)


async def planned(engine: Engine, target: Any) -> PlannedVersion:
    """Return the version that a target means: a file, a name, name@version, a definition."""
    if not isinstance(target, str) or is_file(target):
        if isinstance(target, PlannedVersion):
            return target
        _, version = await publish(engine, target)
        return version
    name, _, number = target.partition("@")
    if number and not number.isdigit():
        raise UsageError(f"'{target}' is not name@version: '{number}' is not a number")
    async with engine.database.connection() as connection:
        finding = workflows.numbered(connection, name, int(number)) if number else workflows.latest(connection, name)
        found = await finding
        found = await _startable(connection, found, name, number)
        return await engine.plans.get(connection, found.id)


def is_file(target: str) -> bool:
    """Say whether a target is meant as a file: by its ending or a slash, never by what happens to lie around."""
    return target.endswith(SUFFIXES) or "/" in target


def read(path: Path) -> str:
    """Read a definition file."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise DefinitionError(f"{path} is larger than {MAX_FILE:,} bytes, the limit of a definition")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", hint="flowforge init makes an example") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a definition") from None
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def unknown(name: str, names: list[str]) -> NoReturn:
    """Raise NotFound for a workflow, with the name that was probably meant."""
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean '{close[0]}'?" if close else "flowforge workflow ls lists workflows"
    raise NotFound(f"there is no workflow '{name}'", hint=hint)


async def _startable(connection: Connection, found: Version | None, name: str, number: str) -> Version:
    if found is not None and found.status == "published":
        return found
    known = await workflows.versions(connection, name)
    if not known:
        unknown(name, await workflows.names(connection))
    if found is not None:
        hint = f"flowforge workflow publish {name}" if found.status == "draft" else f"flowforge workflow show {name}"
        raise Conflict(f"version {found.version} of '{name}' is {found.status}; only published ones start", hint=hint)
    if number:
        have = ", ".join(str(version.version) for version in known[:10])
        raise NotFound(f"workflow '{name}' has no version {number}", hint=f"it has: {have}")
    raise Conflict(f"workflow '{name}' has no published version", hint=f"flowforge workflow show {name}")


def _steps(plan: Plan) -> list[tuple[int, str, str, str]]:
    """Return what every run has, and what undoes it; what is repeated for items has no number that is known yet."""
    undoing = [plan.steps[step.compensation] for step in plan.steps if step.compensation is not None]
    return [(step.no, step.id, step.name, step.type) for step in (*plan.steps, *undoing)]
