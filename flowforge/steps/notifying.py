"""Telling people: messages to targets by name, delivered by apprise in a child process that can be killed.

Whoever wants somebody told uses this, a notification step or the engine itself. What comes back holds no address and no
secret: an address is one, whole and in its parts.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from flowforge.errors import ExpressionError, FlowforgeError
from flowforge.model import template
from flowforge.model.diagnostics import closest
from flowforge.model.json import InvalidJson, decode, encode
from flowforge.steps.limits import scrub, shorten
from flowforge.steps.python_pool import Pool
from flowforge.steps.python_process import Crashed, Listener
from flowforge.steps.python_wire import Kind
from flowforge.steps.redaction import Redactor
from flowforge.steps.secret_providers import Providers, SecretUnavailable
from flowforge.steps.secrets import SecretMissing, Secrets
from flowforge.steps.settings import StepSettings

#: Child processes that deliver at the same time.
PROCESSES = 4
FORMATS = ("text", "markdown", "html")
SEVERITIES = ("info", "success", "warning", "failure")

_FUNCTION = "flowforge.steps.notifying_child:deliver"


class NotInstalled(FlowforgeError):
    """Messages cannot be sent: apprise is not installed."""

    hint = 'pip install "flowforge[notify]" where the worker runs'


class UnknownTarget(FlowforgeError):
    """The settings name no such target."""


@dataclass(frozen=True, slots=True)
class Message:
    """What people are told."""

    title: str
    body: str
    format: str = "text"
    severity: str = "info"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message to one target."""

    target: str
    #: Why the target does not have it, or not at all of its addresses; None: delivered.
    error: str | None = None
    #: Whether trying again can help.
    retryable: bool = True

    @property
    def delivered(self) -> bool:
        """Whether the target has the message."""
        return self.error is None

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"delivered": self.delivered, "error": self.error}


class Notifier:
    """Delivers messages; belongs to the event loop it is first used in, which runs in the main thread."""

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings
        children = dataclasses.replace(settings, python_processes=PROCESSES, python_path=(), python_memory_bytes=None)
        self._pool = Pool(children)

    async def send(
        self, targets: Sequence[str], message: Message, secrets: Secrets, log: Callable[[str], None] | None = None
    ) -> tuple[Delivery, ...]:
        """Tell every target, all at the same time; a cancellation kills what is under way.

        Raises UnknownTarget and NotInstalled before anybody is told.
        """
        names = tuple(dict.fromkeys(targets))
        for name in names:
            if name not in self._settings.targets:
                raise _unknown(name, self._settings.targets)
        if find_spec("apprise") is None:
            raise NotInstalled
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._deliver(name, message, secrets, log or _ignore)) for name in names]
        redactor = Redactor.of(secrets.used)
        return tuple(_clean(task.result(), redactor) for task in tasks)

    async def close(self) -> None:
        """End the child processes."""
        await self._pool.close()

    async def _deliver(self, name: str, message: Message, secrets: Secrets, log: Callable[[str], None]) -> Delivery:
        try:
            addresses = [await _address(written, secrets) for written in self._settings.targets[name]]
        except SecretMissing as error:
            return Delivery(name, f"{error.message}; {error.hint}", retryable=False)
        except ExpressionError as error:
            return Delivery(name, f"the target's address cannot be read: {error.message}", retryable=False)
        except SecretUnavailable as error:
            return Delivery(name, error.message)
        for no, address in enumerate(addresses):
            secrets.hide(f"address {no + 1} of target {name}", address)
        return await self._call(name, addresses, message, log)

    async def _call(self, name: str, addresses: list[str], message: Message, log: Callable[[str], None]) -> Delivery:
        arguments = {"addresses": addresses, "message": dataclasses.asdict(message)}
        context = {"step": name}
        try:
            request = encode({"function": _FUNCTION, "args": arguments, "context": context}).encode()
            reply = await self._pool.call(request, Listener(_ignore, log), self._grace)
            document: Any = decode(reply.payload)
        except Crashed as crash:
            return Delivery(name, crash.error.message)
        except OSError as error:
            return Delivery(name, f"no child process can be started: {error}")
        except InvalidJson as error:
            return Delivery(name, f"the message {error.message}", retryable=False)
        if reply.kind is not Kind.RESULT:
            return Delivery(name, str(document.get("message")))
        failures = [said for said in document if said["error"] is not None]
        if not failures:
            return Delivery(name)
        words = "; ".join(said["error"] for said in failures)
        if len(addresses) > 1:
            words = f"{len(failures)} of {len(addresses)} addresses failed: {words}"
        return Delivery(name, words, retryable=any(said["retryable"] for said in failures))

    @property
    def _grace(self) -> float:
        return min(self._settings.kill_grace, timedelta(seconds=1)).total_seconds()


async def notify(
    settings: StepSettings, targets: Sequence[str], title: str, body: str, *, timeout: float = 60.0
) -> tuple[Delivery, ...]:
    """Tell *targets* once, with secrets of their own; what is not delivered in time is reported as that.

    Raises UnknownTarget and NotInstalled.
    """
    secrets, notifier = Secrets(), Notifier(settings)
    await secrets.load((), Providers.of(settings))
    try:
        async with asyncio.timeout(timeout):
            return await notifier.send(targets, Message(title, body), secrets)
    except TimeoutError:
        return tuple(Delivery(name, f"not delivered within {timeout:g} s") for name in dict.fromkeys(targets))
    finally:
        await notifier.close()


async def _address(written: str, secrets: Secrets) -> str:
    """Return an address with its secrets in their places."""
    compiled = template.compile(written)
    for name in sorted(compiled.references.secrets):
        await secrets.need(name)
    return str(compiled.render({"secrets": secrets})).strip()


def _unknown(name: str, targets: Any) -> UnknownTarget:
    meant = closest(name, targets)
    suggestion = f" (did you mean '{meant}'?)" if meant else ""
    known = ", ".join(sorted(targets)) or "none"
    hint = f"add it to [targets] in flowforge.toml where workers run, or to FLOWFORGE_TARGETS; there are: {known}"
    return UnknownTarget(f"this worker knows no target '{name[:100]}'{suggestion}", hint=hint)


def _clean(delivery: Delivery, redactor: Redactor) -> Delivery:
    if delivery.error is None:
        return delivery
    return dataclasses.replace(delivery, error=shorten(scrub(redactor.diagnostic(delivery.error)), 1_000))


def _ignore(_: object) -> None:
    pass
