"""What an OpenAI-compatible server answers, and what of it can be used.

| what | code | tried again |
|---|---|---|
| no JSON, or not a chat completion | AGENT_BAD_ANSWER | yes |
| the answer stops in the middle: out of tokens | AGENT_INCOMPLETE | no: the same limit cuts the next one |
| the model refuses, a filter took the answer | AGENT_REFUSED | no |
| structured output was asked for, and is not JSON | AGENT_BAD_OUTPUT | yes: models differ from time to time |
| it is JSON, but not as the schema says | AGENT_SCHEMA_VIOLATION | yes |

`retry_on` can name each of them. Statuses, networks and sizes fail as those of http steps do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowforge.model import inputs
from flowforge.model.json import InvalidJson, Json, decode
from flowforge.model.outcome import Failed, StepError
from flowforge.steps.agent_question import Question
from flowforge.steps.http_body import excerpt
from flowforge.steps.limits import shorten

#: Models like to wrap JSON in a code block, also when they are told not to.
_FENCED = re.compile(r"\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


@dataclass(frozen=True, slots=True)
class Answer:
    """A chat completion."""

    text: str
    model: str | None
    finish_reason: str | None
    usage: Mapping[str, Any]
    id: str | None = None
    tool_calls: tuple[Any, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return what a step's output says of it."""
        found = {
            "text": self.text,
            "model": self.model,
            "finish_reason": self.finish_reason,
            "usage": dict(self.usage),
            "id": self.id,
        }
        return found | ({"tool_calls": list(self.tool_calls)} if self.tool_calls else {})


@dataclass(frozen=True, slots=True)
class Output:
    """What the next steps work with."""

    value: Json = field(default=None)


def read(body: bytes) -> Answer | Failed:
    """Return the completion in a response's body, or the failure of one that cannot be used."""
    try:
        document = decode(body)
    except InvalidJson as error:
        return _bad(f"the server's answer {error.message}", body)
    said = _error(document)
    if said is not None:
        return _bad(f"the server answered with an error: {shorten(said, 500)}", body)
    choice = _choice(document)
    if choice is None or not isinstance(document, dict):
        return _bad("the server's answer is not a chat completion: it has no choices[0].message", body)
    message = choice["message"]
    calls = message.get("tool_calls")
    answer = Answer(
        text=_content(message.get("content")),
        model=_word(document.get("model")),
        finish_reason=_word(choice.get("finish_reason")),
        usage=_usage(document.get("usage")),
        id=_word(document.get("id")),
        tool_calls=tuple(calls) if isinstance(calls, list) else (),
    )
    return _unfinished(answer, message) or answer


def output(answer: Answer, question: Question) -> Output | Failed:
    """Return the answer's text, or the value that it has to be, as the step's schema says."""
    if question.schema is None:
        return Output(answer.text)
    fenced = _FENCED.fullmatch(answer.text)
    try:
        value = decode(fenced[1] if fenced else answer.text)
    except InvalidJson as error:
        message = f"the answer of '{question.agent_id}' {error.message}, where output_schema asks for JSON"
        return _failed("AGENT_BAD_OUTPUT", message, answer, "schema")
    violations = inputs.violations(question.schema, value, "output")
    if violations:
        message = f"the answer of '{question.agent_id}' is not as output_schema says: {'; '.join(violations)}"
        return _failed("AGENT_SCHEMA_VIOLATION", message, answer, "schema")
    return Output(value)


def _unfinished(answer: Answer, message: Mapping[str, Any]) -> Failed | None:
    refusal = _word(message.get("refusal"))
    if refusal is not None or answer.finish_reason == "content_filter":
        said = f": {shorten(refusal, 500)}" if refusal else ", a content filter took its answer"
        return _failed("AGENT_REFUSED", f"the model refuses to answer{said}", answer, "refused", retryable=False)
    if answer.finish_reason == "length":
        return _failed(
            "AGENT_INCOMPLETE",
            "the answer stops in the middle: the model ran out of tokens",
            answer,
            "incomplete",
            retryable=False,
            hint="raise max_tokens (or max_completion_tokens) in the step's parameters, or ask for less",
        )
    return None


def _failed(
    code: str, message: str, answer: Answer, kind: str, *, retryable: bool = True, hint: str | None = None
) -> Failed:
    details = answer.document() | {"text": shorten(answer.text)}
    return Failed(StepError(code, message, ("agent", kind), retryable, hint, details))


def _bad(message: str, body: bytes) -> Failed:
    hint = "is the agent's base_url right? /chat/completions is added to it"
    details = {"body": excerpt(body, "application/json")}
    return Failed(StepError("AGENT_BAD_ANSWER", message, ("agent", "garbage"), hint=hint, details=details))


def _error(document: Any) -> str | None:
    """Return what a server says that reports its errors with status 200."""
    error = document.get("error") if isinstance(document, dict) else None
    if not error:
        return None
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)


def _choice(document: Any) -> dict[str, Any] | None:
    choices = document.get("choices") if isinstance(document, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) and isinstance(first.get("message"), dict) else None


def _content(value: Any) -> str:
    """Return a message's text, which some servers send in parts."""
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return value if isinstance(value, str) else ""


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _usage(value: Any) -> dict[str, Any]:
    """Return the tokens that were used; the three counts are always there, None where the server does not say."""
    found = value if isinstance(value, dict) else {}
    return {**found, **{name: _count(found.get(name)) for name in _COUNTS}}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
