"""What executors need to know of the installation; the engine fills it from its own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from flowforge.model.json import MAX_STEP_BYTES
from flowforge.version import __version__


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """An OpenAI-compatible server, and how it is asked."""

    base_url: str
    model: str
    #: Name of the secret that is sent as bearer token.
    secret: str | None = None
    #: Parameters of every request; a step's own come on top.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: System message, unless the step has one.
    system: str | None = None
    #: More headers; their values may hold `{{ secrets.name }}`.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class StepSettings:
    """The limits and permissions of one worker's executors; the defaults are the safe ones."""

    #: Whether http steps may connect to private networks and to this machine (never to metadata services).
    allow_private_addresses: bool = False
    #: Whether http steps may connect to this machine; true in the embedded profile.
    allow_loopback: bool = False
    #: Hosts that may be called whatever their address: `stock.internal`, or `*.internal` for all below it.
    allowed_hosts: tuple[str, ...] = ()
    #: Bytes of a response's body, decompressed; a step's `max_bytes` can ask for less, never for more.
    max_response_bytes: int = MAX_STEP_BYTES
    #: Redirects an http step follows.
    max_redirects: int = 5
    #: Time to open one connection, TLS included.
    connect_timeout: timedelta = timedelta(seconds=10)
    user_agent: str = f"FlowForge/{__version__}"
    #: Bytes of one step's output.
    max_step_bytes: int = MAX_STEP_BYTES
    #: Child processes that execute python steps at the same time.
    python_processes: int = 4
    #: Folders searched for functions before the working directory and PYTHONPATH.
    python_path: tuple[str, ...] = ()
    #: Address space of one child process; None: no limit.
    python_memory_bytes: int | None = None
    #: Largest file that a child process can write; None: no limit.
    python_file_bytes: int | None = None
    #: Idle child processes that are kept for good, and how long the others stay.
    python_warm: int = 2
    python_idle: timedelta = timedelta(seconds=30)
    #: Calls after which a child process is replaced.
    python_calls: int = 1000
    #: Captured stdout, stderr and log text of one attempt.
    python_output_bytes: int = 64 * 1024
    #: Time between asking and killing a python step; never longer than the step's own timeout.
    kill_grace: timedelta = timedelta(seconds=5)
    #: Agents by id.
    agents: Mapping[str, AgentSettings] = field(default_factory=dict, hash=False)
    #: Addresses of messages by name; they may hold `{{ secrets.name }}`.
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False, repr=False)
    #: Providers of secrets, in the order they are asked.
    secrets_from: tuple[str, ...] = ("env", "files")
    #: Folder with a file per secret.
    secrets_dir: Path | None = None
