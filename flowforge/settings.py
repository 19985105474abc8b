"""Every setting of an installation, where it comes from, and what holds when nobody says anything.

Precedence: what the caller gives (flags) > `FLOWFORGE_*` variables > `flowforge.toml` here or above > the user's
file > the built-in default. `sources` remembers which of them decided each value.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_config_path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from flowforge.contacts import Agents, Named, Targets
from flowforge.errors import UsageError

PREFIX = "FLOWFORGE_"
FILE = "flowforge.toml"

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _duration(value: object) -> object:
    """Accept `30s`, `500ms`, `1.5m` beside what pydantic accepts; a bare number is seconds."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9.]+)\s*(ms|s|m|h|d)?\s*", value)
        if match:
            return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])
    return value


def _paths(value: object) -> object:
    return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value


def _names(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Paths = Annotated[tuple[str, ...], BeforeValidator(_paths)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


def _groups(value: object) -> object:
    if isinstance(value, str):
        pairs = (part.partition("=") for part in value.split(";") if part.strip())
        return {name.strip(): _names(members) for name, _, members in pairs}
    return value


def _keys(value: object) -> object:
    if isinstance(value, str):
        pairs = (part.partition("=") for part in value.split(";") if part.strip())
        return {name.strip(): keys.strip() for name, _, keys in pairs}
    return value


Keys = Annotated[dict[str, str], BeforeValidator(_keys)]
Groups = Annotated[dict[str, Names], BeforeValidator(_groups)]


class Settings(BaseModel):
    """The settings of one process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str | None = Field(None, description="Postgres to use; without it the embedded one is started")
    redis_url: str | None = Field(None, description="Redis or Valkey to use; without it the embedded one is started")
    home: Path | None = Field(None, description="Folder of the embedded servers")
    profile: str | None = Field(None, description="Section [profile.NAME] of the files to use")
    queues: Names = Field(("default",), description="Queues a worker serves")
    concurrency: int = Field(256, ge=1, le=10_000, description="Attempts one worker process runs at a time")
    python_processes: int = Field(
        default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)),
        ge=1,
        le=1000,
        description="Child processes for python steps, per worker process",
    )
    python_path: Paths = Field((), alias="path", description="Where python steps look for functions first")
    python_memory_bytes: int | None = Field(None, ge=1, description="Address space of one python step")
    publish_events: bool = Field(
        default=True, description="Whether workers publish the events stream; off where Redis is not the watchers'"
    )
    receipts: bool = Field(default=True, description="Whether workers make receipts of runs that have ended")
    receipt_key: SecretStr | None = Field(
        None,
        description="Private key (Ed25519) of receipts: PEM, base64 or @FILE; without it the database keeps one",
    )
    lease: Duration = Field(timedelta(seconds=30), description="How long a silent worker keeps its attempts")
    redispatch_after: Duration = Field(timedelta(seconds=30), description="When an unclaimed step is dispatched again")
    grace: Duration = Field(timedelta(seconds=10), description="Time a stopping worker gives its attempts")
    kill_grace: Duration = Field(
        timedelta(seconds=5), description="Time between asking and killing a python step, up to a sixth of the lease"
    )
    actor: str | None = Field(None, description="Who is acting, for the record; user@host without it")
    readonly: bool = Field(default=False, description="Whether dashboards may only look")
    theme: str | None = Field(None, description="Colours of dashboards")
    keys: Keys = Field(default_factory=dict, description="Keys of dashboards: a table [keys], or cancel=ctrl+x;retry=t")
    groups: Groups = Field(
        default_factory=dict, description="Groups of people who approve: a table [groups], or name=ada,bob;other=cyd"
    )
    incident_targets: Names = Field((), description="Targets that are told of a new incident")
    max_crashes: int = Field(3, ge=0, description="Workers a step may take down before it is parked")
    idempotency_window: Duration = Field(
        timedelta(days=30), gt=timedelta(0), description="How long an idempotency key answers with its first run"
    )
    max_step_bytes: int = Field(1024 * 1024, ge=1024, description="Bytes of one step's output")
    max_run_bytes: int = Field(8 * 1024 * 1024, ge=1024, description="Bytes of all outputs of a run")
    max_input_bytes: int = Field(1024 * 1024, ge=1024, description="Bytes of a run's input")
    allow_private_addresses: bool = Field(default=False, description="http steps may call private addresses")
    allow_loopback: bool | None = Field(
        None, description="http steps may call this machine; by default only with the embedded servers"
    )
    allowed_hosts: Names = Field((), description="Hosts http steps may call whatever their address")
    agents: Agents = Field(
        default_factory=Named, description="Agents that steps may ask, by id: tables [agents.ID], or JSON"
    )
    targets: Targets = Field(
        default_factory=Named, description="Whom messages go to, by name: apprise addresses, or JSON"
    )
    secrets_from: Names = Field(
        ("env", "files"), description="Where secrets are looked for, in order: env, files, and those of packages"
    )
    secrets_dir: Path | None = Field(None, description="Folder that holds a file per secret")
    traces: Literal["off", "otlp", "console"] = Field("off", description="Where OpenTelemetry spans go")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged")

    @property
    def embedded(self) -> bool:
        """Whether any server is ours to start."""
        return self.database_url is None or self.redis_url is None

    @property
    def loopback_allowed(self) -> bool:
        """Whether http steps may call this machine."""
        return self.embedded if self.allow_loopback is None else self.allow_loopback


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and which source decided each value."""

    settings: Settings
    sources: dict[str, str] = field(default_factory=dict)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + _key(name).upper()


def load(overrides: dict[str, Any] | None = None, *, folder: Path | None = None) -> Loaded:
    """Read settings from everywhere; raise UsageError naming the source of a bad value."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    profile = (overrides or {}).get("profile") or os.environ.get(PREFIX + "PROFILE")
    profiles: set[str] = set()
    for path in (user_config_path("flowforge") / FILE, _project_file(folder or Path.cwd())):
        if path is not None and path.is_file():
            for name, (value, source) in _read(path, profile, profiles).items():
                values[name], sources[name] = value, source
    if profile and profile not in profiles:
        known = f"there are: {', '.join(sorted(profiles))}" if profiles else f"none has a section [profile.{profile}]"
        raise UsageError(f"no {FILE} has a profile '{profile}'", hint=known)
    for name in Settings.model_fields:
        if (text := os.environ.get(variable(name))) is not None and text != "":
            values[name], sources[name] = text, variable(name)
    for name, value in (overrides or {}).items():
        if value is not None:
            values[name], sources[name] = value, "command line"
    try:
        settings = Settings.model_validate({_key(name): value for name, value in values.items()})
    except ValidationError as error:
        raise UsageError(_explain(error, sources), hint="flowforge config show") from None
    return Loaded(settings, {name: sources.get(name, "default") for name in Settings.model_fields})


def _key(name: str) -> str:
    return Settings.model_fields[name].alias or name if name in Settings.model_fields else name


def _project_file(folder: Path) -> Path | None:
    """Return the nearest flowforge.toml at or above a folder."""
    return next((path for base in (folder, *folder.parents) if (path := base / FILE).is_file()), None)


def _read(path: Path, profile: str | None, profiles: set[str]) -> dict[str, tuple[Any, str]]:
    """Return the settings of a file with what decided each, and add the names of its profiles to *profiles*."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    sections = data.pop("profile", {})
    if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
        raise UsageError(f"{path}: 'profile' holds sections such as [profile.production]")
    profiles.update(sections)
    found = {name: (value, str(path)) for name, value in data.items()}
    if profile is not None:
        source = f"{path} [profile.{profile}]"
        found |= {name: (value, source) for name, value in sections.get(profile, {}).items()}
    names = {field.alias or name: name for name, field in Settings.model_fields.items()}
    return {names.get(name, name): value for name, value in found.items()}


def _explain(error: ValidationError, sources: dict[str, str]) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    name = next((n for n, f in Settings.model_fields.items() if (f.alias or n) == key), key)
    inside = ".".join(str(part) for part in first["loc"][1:])
    words = first["msg"].removeprefix("Value error, ")
    message = f"{f'{inside}: ' if inside else ''}{words[:1].lower()}{words[1:]}"
    return f"setting '{name}' from {sources.get(name, 'unknown')}: {message}"
