"""Agents and targets in settings: read from tables and from JSON, shown without what may be a credential."""

from __future__ import annotations

import pytest

from flowforge.engine.step_settings import step_settings
from flowforge.errors import UsageError
from flowforge.settings import Settings, load
from flowforge.steps.settings import AgentSettings

FILE = """
[agents.writer]
base_url = "https://user:pass@llm.example/v1/"
model = "small"
secret = "llm_key"
parameters = {temperature = 0}
headers = {"X-Team" = "finance-4711"}

[targets]
ops = "{{ secrets.ops_address }}"
finance = ["mailtos://robot:hunter22@mail.example", "slack://{{ secrets.slack }}/#pay"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("FLOWFORGE_AGENTS", "FLOWFORGE_TARGETS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "flowforge.toml").write_text(FILE)
    return tmp_path


def test_they_stand_in_the_file(folder):
    settings = step_settings(load(folder=folder).settings)

    assert settings.agents["writer"] == AgentSettings(
        "https://user:pass@llm.example/v1", "small", "llm_key", {"temperature": 0}, None, {"X-Team": "finance-4711"}
    )
    assert settings.targets["ops"] == ("{{ secrets.ops_address }}",)
    assert len(settings.targets["finance"]) == 2


def test_they_stand_in_variables_as_json(folder, monkeypatch):
    monkeypatch.setenv("FLOWFORGE_AGENTS", '{"a": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}')
    monkeypatch.setenv("FLOWFORGE_TARGETS", '{"a": "json://hook.example"}')
    settings = load(folder=folder).settings

    assert list(settings.agents) == list(settings.targets) == ["a"]


def test_what_is_shown_holds_no_credential(folder):
    settings = load(folder=folder).settings
    shown = f"{settings.agents} {settings.targets} {settings!r}"

    for hidden in ("hunter22", "robot", "pass@", "finance-4711", "#pay"):
        assert hidden not in shown
    assert str(settings.agents) == "writer: small at https://***@llm.example/v1, secret llm_key"
    assert str(settings.targets).endswith("finance: mailtos://***, slack://***{{ secrets.slack }}")
    assert str(Settings().targets) == "-"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("FLOWFORGE_AGENTS", "{", "setting 'agents' from FLOWFORGE_AGENTS: not a JSON object at character 2"),
        ("FLOWFORGE_AGENTS", '{"a": {"model": "m"}}', "a.base_url: field required"),
        ("FLOWFORGE_AGENTS", '{"a": {"model": "m", "base_url": "ftp://x"}}', "a.base_url: must begin with http"),
        ("FLOWFORGE_TARGETS", '{"a": []}', "a: tuple should have at least 1 item"),
    ],
)
def test_a_bad_entry_is_named_with_its_place(folder, monkeypatch, variable, value, words):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as refused:
        load(folder=folder)

    assert words in str(refused.value)
