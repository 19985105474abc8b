"""Where secrets come from: the environment, a folder of files, providers of installed packages.

Providers are asked in the order that the setting `secrets_from` says; the first that has a secret gives it. A provider
that breaks is not passed over: a secret must not silently become another one. Those of packages may block, so they
are asked in threads of their own that nothing waits for at the end of the process.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from flowforge.errors import FlowforgeError, UsageError
from flowforge.model.diagnostics import closest
from flowforge.steps.settings import StepSettings

GROUP = "flowforge.secrets"

#: Bytes of a secret's file.
MAX_BYTES = 1024 * 1024
#: Seconds that a provider has for one answer.
PATIENCE = 15.0
#: Tokens of other workflows that are kept: what each attempt gives is searched for them.
TOKENS = 100
#: A secret that only is one: long, and neither an address nor several lines, parts of which any data may hold.
_TOKEN = re.compile(r"(?!.*://)\S{12,}")
#: Answers that one provider is asked for at a time.
_QUESTIONS = 32


class SecretProvider(Protocol):
    """What gives secrets; an entry point of `flowforge.secrets` names a callable that makes one from StepSettings."""

    def get(self, name: str) -> str | None:
        """Return a secret, or None when there is none of this name; called from several threads, may block."""


#: What an entry point of the group names.
Factory: TypeAlias = Callable[[StepSettings], SecretProvider]


class SecretUnavailable(FlowforgeError):
    """A secret cannot be read at the moment."""


class Environment:
    """Secrets in variables: FLOWFORGE_SECRET_<NAME>."""

    PREFIX = "FLOWFORGE_SECRET_"

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables

    def get(self, name: str) -> str | None:
        """Return the variable's value."""
        return self._variables.get(self.place(name))

    def place(self, name: str) -> str:
        """Return the variable that holds a secret."""
        return self.PREFIX + name.upper()

    def names(self) -> Iterable[str]:
        """Return what there is."""
        return [key.removeprefix(self.PREFIX).lower() for key in self._variables if key.startswith(self.PREFIX)]


class Files:
    """Secrets in files, as container platforms mount them: the file's name is the secret's, one line end is cut off."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser()

    def get(self, name: str) -> str | None:
        """Return the file's content; raises when there is a file that cannot be read."""
        if not name or name != Path(name).name or name.startswith(".."):
            return None
        try:
            with (self._folder / name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return None
        if len(content) > MAX_BYTES:
            raise ValueError(f"the file is larger than {MAX_BYTES:,} bytes")
        try:
            return content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ValueError("the file is not UTF-8 text") from None

    def place(self, name: str) -> str:
        """Say where a secret would be."""
        return str(self._folder / name)

    def names(self) -> Iterable[str]:
        """Return what there is."""
        with suppress(OSError):
            return [entry.name for entry in self._folder.iterdir() if not entry.name.startswith(".")]
        return []


class Plugin:
    """A provider of a package, asked without stopping the event loop."""

    def __init__(self, provider: SecretProvider) -> None:
        self._provider = provider
        self._free = asyncio.Semaphore(_QUESTIONS)

    async def ask(self, name: str) -> Any:
        """Return the provider's answer; raises what it raises, or TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            await self._free.acquire()
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[Any] = loop.create_future()

            def settle(value: Any, error: BaseException | None) -> None:
                self._free.release()
                if answer.done():
                    return
                if error is None:
                    answer.set_result(value)
                else:
                    answer.set_exception(error)

            def work() -> None:
                value, error = None, None
                try:
                    value = self._provider.get(name)
                except Exception as raised:  # noqa: BLE001 - whatever a package raises is the answer
                    error = raised
                with suppress(RuntimeError):  # the loop is gone: nobody listens any more
                    loop.call_soon_threadsafe(settle, value, error)

            threading.Thread(target=work, name="flowforge-secret", daemon=True).start()
            return await answer


Provider: TypeAlias = "Environment | Files | Plugin"


class Providers:
    """All providers of a worker, in order."""

    def __init__(self, providers: Sequence[tuple[str, Provider]]) -> None:
        self._providers = tuple(providers)
        #: What was given out in this process, by name: nothing of it may be in any log.
        self.given: dict[str, str] = {}
        self._watched: set[str] = set()
        #: The secrets among it that no other data is mistaken for.
        self._tokens: dict[str, str] = {}

    @classmethod
    def of(cls, settings: StepSettings) -> Providers:
        """Make the providers that the settings name; raises UsageError for one that is not there."""
        made: list[tuple[str, Provider]] = []
        for name in settings.secrets_from:
            if name == "env":
                made.append((name, Environment()))
            elif name != "files":
                made.append((name, Plugin(_plugin(name, settings))))
            elif settings.secrets_dir is not None:
                made.append((name, Files(settings.secrets_dir)))
        return cls(made)

    async def get(self, name: str) -> str | None:
        """Return a secret; None when nobody has it. Raises SecretUnavailable when one of those asked is broken."""
        for where, provider in self._providers:
            try:
                value = await provider.ask(name) if isinstance(provider, Plugin) else provider.get(name)
            except TimeoutError:
                raise SecretUnavailable(f"secret '{name}': {where} did not answer within {PATIENCE:g} s") from None
            except Exception as error:
                raise SecretUnavailable(f"secret '{name}' from {where}: {type(error).__name__}: {error}") from error
            if isinstance(value, str):
                self._give(name, value)
                return value
            if value is not None:
                raise SecretUnavailable(f"secret '{name}': {where} gave {type(value).__name__}, not text")
        return None

    async def watch(self, names: Iterable[str]) -> None:
        """Get to know secrets that are read elsewhere, as far as their providers answer; each is asked for once."""
        for name in names:
            if name not in self.given and name not in self._watched:
                self._watched.add(name)
                with suppress(SecretUnavailable):
                    await self.get(name)

    def hidden(self, names: Container[str]) -> dict[str, str]:
        """Return what is known of some secrets, and of all others what no other data is mistaken for."""
        if not self.given:
            return {}
        return {**self._tokens, **{name: value for name, value in self.given.items() if name in names}}

    def _give(self, name: str, value: str) -> None:
        self.given[name] = value
        self._tokens.pop(name, None)
        if _TOKEN.fullmatch(value):
            self._tokens[name] = value
        if len(self._tokens) > TOKENS:
            del self._tokens[next(iter(self._tokens))]

    def places(self, name: str) -> str:
        """Say where a secret was looked for."""
        said = [
            where if isinstance(provider, Plugin) else f"{where} ({provider.place(name)})"
            for where, provider in self._providers
        ]
        return ", ".join(said) or "no provider"

    def names(self) -> Iterable[str]:
        """Return the secrets that are known to be there."""
        return [name for _, one in self._providers if not isinstance(one, Plugin) for name in one.names()]


def _plugin(name: str, settings: StepSettings) -> SecretProvider:
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        known = ("env", "files", *sorted(found))
        meant = closest(name, known)
        suggestion = f" (did you mean '{meant}'?)" if meant else ""
        raise UsageError(
            f"secrets_from: no installed package provides secrets from '{name}'{suggestion}",
            hint=f"there are {', '.join(known)}; packages add others through the entry-point group {GROUP}",
        )
    try:
        factory: Factory = found[name].load()
        return factory(settings)
    except Exception as error:
        raise UsageError(
            f"secrets_from: '{name}' of {found[name].value} cannot be loaded: {type(error).__name__}: {error}",
            hint="repair or remove the package where the worker runs",
        ) from error
