"""Which executor serves which step type: the built-in ones, and those of installed packages.

Modules are imported when their type is first asked for: a worker that only transforms loads no HTTP client.
A type that cannot be loaded is still served, by an executor that fails its steps with the reason.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeAlias

from flowforge.steps.base import AsyncExecutor, Executor
from flowforge.steps.secret_providers import Providers
from flowforge.steps.settings import StepSettings
from flowforge.steps.unavailable import Unavailable, broken, unknown

GROUP = "flowforge.steps"

#: What an entry point of the group names: a callable that makes the executor. An executor's class may have a
#: `config_schema`, a JSON Schema: definitions are checked against it when they are linted and published, and rendered
#: configurations before an attempt.
Factory: TypeAlias = Callable[[StepSettings], Executor]

#: Types that are served here: module and factory.
_BUILT_IN = {
    "agent": ("flowforge.steps.agent", "Agent"),
    "approval": ("flowforge.steps.approval", "Approval"),
    "conditional": ("flowforge.steps.conditional", "Conditional"),
    "delay": ("flowforge.steps.delay", "Delay"),
    "foreach": ("flowforge.steps.foreach", "Foreach"),
    "http": ("flowforge.steps.http", "Http"),
    "notification": ("flowforge.steps.notification", "Notification"),
    "parallel": ("flowforge.steps.parallel", "Parallel"),
    "python": ("flowforge.steps.python", "Python"),
    "transform": ("flowforge.steps.transform", "Transform"),
    "wait_signal": ("flowforge.steps.wait_signal", "WaitSignal"),
}

#: Types that need the engine, and are served by whoever has it (engine/children.py).
SERVED = frozenset({"workflow"})

logger = logging.getLogger(__name__)


class Executors:
    """The executors of one worker, made when first needed."""

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings
        #: Where the secrets of their attempts come from.
        self.secrets = Providers.of(settings)
        self._made: dict[str, Executor] = {}

    def get(self, kind: str) -> Executor:
        """Return the executor of a step type; an unknown type gets one that fails its steps."""
        executor = self._made.get(kind)
        if executor is None:
            executor = self._made[kind] = _make(kind, self._settings)
        return executor

    def serve(self, kind: str, executor: Executor) -> None:
        """Let an executor serve a type that is not made of settings alone."""
        self._made.setdefault(kind, executor)

    async def close(self) -> None:
        """Close every executor that was made; one that fails to close does not keep the others open."""
        made, self._made = list(self._made.values()), {}
        closing = [executor.close() for executor in made if isinstance(executor, AsyncExecutor)]
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, BaseException):
                logger.error("an executor could not be closed", exc_info=result)


def build(settings: StepSettings) -> Executors:
    """Return the executors for a worker; raises UsageError for a provider of secrets that is not there."""
    return Executors(settings)


def installed() -> frozenset[str]:
    """Return the names of all step types that definitions may use here."""
    return frozenset(_BUILT_IN) | SERVED | frozenset(_plugins())


@functools.cache
def config_schema(kind: str) -> Mapping[str, Any] | None:
    """Return the JSON Schema of the configuration of a type that a package brings, if the package says one."""
    plugin = _plugins().get(kind)
    if plugin is None or kind in _BUILT_IN:
        return None
    try:
        found = getattr(plugin.load(), "config_schema", None)
    except Exception:
        logger.exception("step type %s of %s cannot be loaded", kind, plugin.value)
        return None
    return found if isinstance(found, Mapping) else None


def _make(kind: str, settings: StepSettings) -> Executor:
    if kind in _BUILT_IN:
        module, name = _BUILT_IN[kind]
        factory: Factory = getattr(import_module(module), name)
        return factory(settings)
    plugin = _plugins().get(kind)
    if plugin is None:
        return Unavailable(unknown(kind))
    try:
        loaded: Factory = plugin.load()
        return loaded(settings)
    except Exception as error:
        logger.exception("step type %s of %s cannot be loaded", kind, plugin.value)
        return Unavailable(broken(kind, plugin.value, error))


@functools.cache
def _plugins() -> Mapping[str, EntryPoint]:
    return {plugin.name: plugin for plugin in entry_points(group=GROUP)}
