"""The secrets of one attempt: fetched at the last moment, in the worker, and remembered until all it says is written.

Definitions and settings hold names; `Providers` know the values. What was fetched here is taken out of everything that
the attempt hands back (`flowforge.steps.redaction`), so whatever an executor reads, it reads through this.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from flowforge.errors import FlowforgeError
from flowforge.model.outcome import Failed, StepError
from flowforge.model.plan import StepPlan
from flowforge.steps.secret_providers import Environment, Providers, SecretUnavailable

#: Asked when nobody says where secrets come from.
_ENVIRONMENT = Environment()


class SecretMissing(FlowforgeError):
    """There is no such secret."""


class Secrets(Mapping[str, str]):
    """What expressions see as `secrets`; an attempt has one of its own."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = _ENVIRONMENT if environment is None else Environment(environment)
        self._providers: Providers | None = None
        self._missing: dict[str, None] = {}
        self._around: frozenset[str] = frozenset()
        #: What was read so far, by name.
        self.used: dict[str, str] = {}

    async def load(self, names: Iterable[str], providers: Providers, around: frozenset[str] = frozenset()) -> None:
        """Fetch *names*, so that expressions can read them; raises SecretUnavailable.

        What other steps of the workflow read, *around*, is hidden too: a server may give it to another step.
        """
        self._providers, self._around = providers, around
        for name in names:
            await self._fetch(name)

    async def need(self, name: str) -> str:
        """Return a secret; raises SecretMissing, which says where it was looked for, or SecretUnavailable."""
        value = await self._fetch(name)
        if value is None:
            raise SecretMissing(f"there is no secret '{name}'", hint=self.advice)
        return value

    def hide(self, name: str, value: str) -> None:
        """Treat a value as a secret that was read: what an installation's settings hold may be one."""
        self.used[name] = value
        if self._providers is not None:
            self._providers.given[name] = value

    @property
    def hidden(self) -> Mapping[str, str]:
        """What nothing that the attempt hands back may hold, by name."""
        known = {} if self._providers is None else self._providers.hidden(self._around)
        return {**known, **self.used} if known else self.used

    @property
    def advice(self) -> str | None:
        """Say where the secrets that were not found were looked for; None when all were found."""
        if not self._missing:
            return None
        name = next(iter(self._missing))
        places = f"env ({self._environment.place(name)})" if self._providers is None else self._providers.places(name)
        return f"the secret '{name}' was looked for in: {places}"

    async def _fetch(self, name: str) -> str | None:
        if name not in self.used:
            found = self._environment.get(name) if self._providers is None else await self._providers.get(name)
            if found is None:
                self._missing[name] = None
                return None
            self.used[name] = found
        return self.used[name]

    def __getitem__(self, name: str) -> str:
        if name not in self.used:
            value = self._environment.get(name) if self._providers is None else None
            if value is None:
                self._missing[name] = None
                raise KeyError(name)
            self.used[name] = value
        return self.used[name]

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        return name in self.used or (self._providers is None and self._environment.get(name) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._environment.names() if self._providers is None else self._providers.names()))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Secrets(used={sorted(self.used)})"


def named(step: StepPlan) -> frozenset[str]:
    """Return the names of the secrets that a step's configuration reads."""
    names = step.config.references.secrets
    for expression in step.expressions.values():
        names = names | expression.references.secrets
    return names


def of(context: Mapping[str, object]) -> Secrets:
    """Return the secrets in an attempt's context."""
    found = context.get("secrets")
    return found if isinstance(found, Secrets) else Secrets({})


def without_secret(error: SecretMissing | SecretUnavailable) -> Failed:
    """Return the failure of a step that needs a secret: one that is missing stays so, a provider may come back."""
    if isinstance(error, SecretMissing):
        return Failed(StepError("SECRET_MISSING", error.message, ("secret",), retryable=False, hint=error.hint))
    return Failed(StepError("SECRET_UNAVAILABLE", error.message, ("secret",), hint=error.hint))


def variables() -> frozenset[str]:
    """Return the names of this process's variables that hold secrets: those of no concern to a user's function."""
    return frozenset(name for name in os.environ if name.startswith(Environment.PREFIX) or name in _CREDENTIALS)


#: Settings whose values may hold credentials beside references.
_CREDENTIALS = frozenset({"FLOWFORGE_AGENTS", "FLOWFORGE_TARGETS"})
