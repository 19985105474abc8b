"""The notebooks are what their sources give, without outputs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from flowforge.forensics.notebooks import QUESTIONS

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "notebooks"


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_notebook_is_what_its_source_gives(name: str):
    generated = runpy.run_path(str(ROOT / ".ci" / "notebooks"))["generated"]

    assert (FOLDER / f"{name}.ipynb").read_text() == generated(FOLDER / f"{name}.py"), "make notebooks-source"


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_notebook_opens_with_its_question_and_ends_with_findings_and_asserts(name: str):
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]

    assert cells[0]["source"][0].strip().endswith("?")
    assert "fx.tell(" in "".join(code[-2]["source"])
    assert all("assert" in line for line in code[-1]["source"][-1:])
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
