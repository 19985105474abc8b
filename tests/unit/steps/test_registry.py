"""Which executor serves which type."""

from __future__ import annotations

import subprocess
import sys

from flowforge.model.outcome import Failed
from flowforge.steps import registry
from flowforge.steps.base import AsyncExecutor, InlineExecutor
from flowforge.steps.settings import StepSettings


def test_every_type_of_the_definition_language_is_installed():
    """A definition with any of them is valid."""
    from flowforge.model.config import CONFIGS

    assert registry.installed() >= CONFIGS.keys() | {"parallel"}


def test_a_type_is_made_once():
    """Connections and processes are shared by all steps of a worker."""
    executors = registry.build(StepSettings())

    assert executors.get("http") is executors.get("http")
    assert isinstance(executors.get("http"), AsyncExecutor)
    assert isinstance(executors.get("python"), AsyncExecutor)


def test_a_worker_with_transforms_only_loads_no_http_client():
    """Neither httpx nor asyncio's subprocesses nor pydantic are worth the start-up time then."""
    program = (
        "import sys; from flowforge.steps import registry, settings;"
        "registry.build(settings.StepSettings()).get('transform'); registry.installed();"
        "print([name for name in ('httpx', 'httpcore', 'pydantic', 'anyio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


class _EntryPoint:
    value = "acme.steps:Ftp"

    def __init__(self, made):
        self.made = made

    def load(self):
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


def test_a_package_can_bring_a_type(monkeypatch, assign):
    """But not one that FlowForge has."""

    class Ship:
        def __init__(self, settings):
            self.settings = settings

        def execute(self, assignment):
            return Failed

    plugins = {"acme_ship": _EntryPoint(Ship), "http": _EntryPoint(Ship)}
    monkeypatch.setattr(registry, "_plugins", lambda: plugins)
    executors = registry.build(StepSettings())

    assert isinstance(executors.get("acme_ship"), Ship)
    assert not isinstance(executors.get("http"), Ship)
    assert "acme_ship" in registry.installed()


def test_a_package_that_cannot_be_loaded_fails_its_steps_only(monkeypatch, assign):
    """The worker goes on with all other types."""
    plugins = {"ftp": _EntryPoint(ImportError("no module named ftplib2"))}
    monkeypatch.setattr(registry, "_plugins", lambda: plugins)
    executor = registry.build(StepSettings()).get("ftp")
    assert isinstance(executor, InlineExecutor)
    outcome = executor.execute(assign("transform", {"expression": "1"}))

    assert isinstance(outcome, Failed)
    assert "ftplib2" in outcome.error.message


async def test_closing_closes_all_though_one_fails(monkeypatch, caplog):
    """A worker that stops leaves nothing open."""
    closed = []

    class Waits:
        def __init__(self, settings):
            pass

        async def run(self, assignment, report):
            return Failed

        async def close(self):
            closed.append(self)
            if len(closed) == 1:
                raise OSError("stuck")

    monkeypatch.setattr(registry, "_plugins", lambda: {"one": _EntryPoint(Waits), "two": _EntryPoint(Waits)})
    executors = registry.build(StepSettings())
    made = [executors.get("one"), executors.get("two")]
    await executors.close()

    assert closed == made
    assert "could not be closed" in caplog.text
