"""A package that is installed brings a step type and a provider of secrets: linted, published, executed."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tomllib
from importlib import invalidate_caches
from pathlib import Path

import pytest

from flowforge.client import AsyncClient
from flowforge.engine.step_settings import step_settings
from flowforge.errors import DefinitionError
from flowforge.steps import registry
from tests.support.definitions import step, workflow
from tests.support.documents import error_of

PACKAGE = Path(__file__).parents[2] / "plugins" / "acme"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay the package out as pip does, with the metadata that its pyproject asks for; no index is needed for that."""
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = configparser.ConfigParser()
    groups.read_dict(project["entry-points"])
    with (info / "entry_points.txt").open("w") as file:
        groups.write(file)
    shutil.copy(PACKAGE / "acme_flowforge.py", folder)
    return folder


@pytest.fixture
def package(installed: Path, monkeypatch):
    """Make the package's folder one of those that this process imports from."""
    monkeypatch.syspath_prepend(str(installed))
    invalidate_caches()
    registry._plugins.cache_clear()
    registry.config_schema.cache_clear()
    yield installed
    registry._plugins.cache_clear()
    registry.config_schema.cache_clear()


GOOD = {"value": "{{ input.miles }}", "from": "mile", "to": "km"}


async def test_a_step_of_a_package_is_executed(client: AsyncClient, start_worker, at_rest, package):
    await start_worker()
    run = await client.run(workflow(step("far", kind="convert", config=GOOD)), {"miles": 26.2}, wait=True)

    assert run.output == {"far": {"value": 42.164813, "unit": "km"}}
    await at_rest()


async def test_a_value_that_is_known_only_at_run_time_is_checked_then(client: AsyncClient, start_worker, package):
    await start_worker()
    run = await client.run(workflow(step("far", kind="convert", config=GOOD)), {"miles": "many"}, wait=True)

    assert run.status == "failed"
    assert error_of(run)["code"] == "BAD_CONFIG"
    assert "config.value: 'many' is not of type 'number'" in error_of(run)["message"]


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ({"value": 1, "from": "m"}, "FF008", "'to' is a required property"),
        ({**GOOD, "speed": 1}, "FF007", "'speed' was unexpected"),
        ({**GOOD, "from": "yard"}, "FF009", "'yard' is not one of"),
        ({**GOOD, "value": -1}, "FF009", "-1 is less than the minimum"),
    ],
)
async def test_a_definition_is_checked_by_the_schema_of_the_package(client: AsyncClient, package, config, code, words):
    with pytest.raises(DefinitionError) as refused:
        await client.publish(workflow(step("far", kind="convert", config=config)))
    (finding,) = refused.value.diagnostics

    assert finding.code == code
    assert words in finding.message
    assert finding.path[:3] == ("steps", 0, "config")


async def test_what_undoes_a_step_and_what_is_repeated_is_checked_as_well(client: AsyncClient, package):
    bad = {"type": "convert", "config": {**GOOD, "to": "yard"}}
    repeated = step("each", kind="foreach", config={"items": "[1]", "step": bad})
    with pytest.raises(DefinitionError) as refused:
        await client.publish(workflow({**step("far", expression="1"), "compensate": bad}, repeated))

    assert [finding.path for finding in refused.value.diagnostics] == [
        ("steps", 0, "compensate", "config", "to"),
        ("steps", 1, "config", "step", "config", "to"),
    ]


def test_the_command_shows_the_place_of_what_is_wrong(package, tmp_path):
    file = tmp_path / "far.yaml"
    file.write_text("name: far-away\nsteps:\n  - {id: far, type: convert, config: {value: 1, from: m, to: parsec}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "flowforge_cli", "workflow", "lint", str(file)],
        env={"PYTHONPATH": str(package), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode in {2, 20}, done.stderr
    assert "'parsec' is not one of ['km', 'm', 'mile']" in done.stdout + done.stderr
    assert "far.yaml:3:" in done.stdout + done.stderr


async def test_secrets_come_from_the_package(client: AsyncClient, start_worker, make_engine, sql, package):
    engine = await make_engine(secrets_from=("env", "acme"))
    await start_worker(engine=engine, executors=registry.build(step_settings(engine.settings)))
    run = await client.run(workflow(step("open", expression="secrets.combination")), wait=True)

    assert run.output == {"open": {"result": "[secret:combination]"}}
