"""The example project: complete, and its own tests pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flowforge.client import publishing
from flowforge_cli import app
from flowforge_cli.commands.init import FILES


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that was just made."""
    assert app.run(["init", str(tmp_path / "shop")]) == 0
    return tmp_path / "shop"


def test_its_tests_pass_without_a_server(project: Path):
    """With pytest as it comes, started in the project's folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "5 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_it_has_a_workflow_a_python_step_and_a_test(project: Path):
    """And nothing that was there is overwritten."""
    assert sorted(FILES) == sorted(
        str(path.relative_to(project))
        for path in project.rglob("*")
        if path.is_file() and "__pycache__" not in str(path)
    )
    steps = [
        step.type
        for name in ("hello", "order")
        for step in publishing.loaded(project / f"flows/{name}.yaml").plan.steps
    ]
    assert {"python", "approval", "conditional", "transform"} <= set(steps)
    (project / "flows/tasks.py").write_text("mine")
    assert app.run(["init", str(project)]) == 0
    assert (project / "flows/tasks.py").read_text() == "mine"
