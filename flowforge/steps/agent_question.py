"""From an agent step's rendered configuration to the document of a chat completion request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowforge.model import inputs
from flowforge.model.json import InvalidJson, encode
from flowforge.steps.failures import ConfigError
from flowforge.steps.settings import AgentSettings

#: Parameters that would change what kind of answer comes, or what is asked.
_OURS = frozenset({"messages", "stream", "stream_options", "n"})
_QUESTIONS = ("input", "prompt", "messages")


@dataclass(frozen=True, slots=True)
class Question:
    """What a step asks."""

    agent_id: str
    messages: tuple[Mapping[str, Any], ...]
    system: str | None
    parameters: Mapping[str, Any]
    #: JSON Schema of the answer; None: the answer is text.
    schema: Mapping[str, Any] | None
    max_bytes: int | None


def read(config: Mapping[str, Any]) -> Question:
    """Return the question, or raise ConfigError."""
    agent_id = config.get("agent_id")
    if not isinstance(agent_id, str) or not agent_id:
        raise ConfigError("'agent_id' must name an agent")
    parameters = config.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ConfigError("'parameters' must be a mapping")
    taken = sorted(_OURS & parameters.keys())
    if taken:
        raise ConfigError(f"'parameters.{taken[0]}' cannot be set: an agent step asks once and waits for one answer")
    system = config.get("system")
    if system is not None and not isinstance(system, str):
        raise ConfigError("'system' must be text")
    max_bytes = config.get("max_bytes")
    if max_bytes is not None and (isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1):
        raise ConfigError("'max_bytes' must be a whole number")
    return Question(agent_id, _messages(config), system, parameters, _schema(config), max_bytes)


def document(question: Question, agent: AgentSettings) -> dict[str, Any]:
    """Return the body of the request; a step's parameters come over the agent's, null takes one away."""
    messages = list(question.messages)
    system = question.system if question.system is not None else agent.system
    if system and messages[0].get("role") not in {"system", "developer"}:
        messages.insert(0, {"role": "system", "content": system})
    form: dict[str, Any] = {}
    if question.schema is not None:
        named = {"name": "output", "schema": dict(question.schema)}
        form["response_format"] = {"type": "json_schema", "json_schema": named}
    parameters = {"model": agent.model, **form, **agent.parameters, **question.parameters}
    return {name: value for name, value in parameters.items() if value is not None} | {"messages": messages}


def _schema(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schema = config.get("output_schema")
    if schema is None:
        return None
    if not isinstance(schema, dict):
        raise ConfigError("'output_schema' must be a JSON Schema, a mapping")
    # Before anything is asked: an answer that nobody can check is paid for nonetheless.
    findings = inputs.check_schema(schema, ("output_schema",))
    if findings:
        raise ConfigError(findings[0].message, hint=findings[0].help)
    return schema


def _messages(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    given = [name for name in _QUESTIONS if config.get(name) not in (None, "", [], {})]
    if len(given) != 1:
        raise ConfigError(f"give one of {', '.join(_QUESTIONS)}, and nothing empty")
    value = config[given[0]]
    if given[0] != "messages":
        return ({"role": "user", "content": _text(value)},)
    if not isinstance(value, list):
        raise ConfigError("'messages' must be a list")
    for no, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ConfigError(f"'messages.{no}' must be a mapping with 'role' and 'content'")
    return tuple(value)


def _text(value: Any) -> str:
    """Return text as it is, and anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return encode(value)
    except InvalidJson as error:
        raise ConfigError(f"'input' {error.message}") from None
