"""Agent steps against an OpenAI-compatible server that answers well, badly, or half."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flowforge.model.outcome import Completed, Failed, Outcome
from flowforge.steps.agent import Agent
from flowforge.steps.run import attempt
from flowforge.steps.secrets import Secrets
from flowforge.steps.settings import AgentSettings, StepSettings
from tests.integration.steps.support import Heard, Server, assignment, response

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
SCHEMA = {"type": "object", "required": ["risk"], "properties": {"risk": {"enum": ["low", "high"]}}}
QUESTION = {"agent_id": "writer", "input": "Say hello to {{ input.name }}"}


def completion(content: Any = "Hello, Ada", finish: str = "stop", **message: Any) -> bytes:
    """Return a whole response with a chat completion."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    document = {"id": "c-1", "object": "chat.completion", "model": "small-2", "choices": [choice], "usage": USAGE}
    return response(json.dumps(document), content_type="application/json")


@pytest.fixture
async def ask(serve: Callable[..., Any]):
    """Run an agent step against a server that gives *answer*: `await ask(answer, config, agent settings…)`."""
    made: list[Agent] = []
    servers: list[Server] = []

    async def run(answer: Any, config: dict[str, Any] | None = None, **agent: Any) -> Outcome:
        server = await serve(answer)
        servers.append(server)
        settings = {"base_url": server.url("/v1/"), "model": "small", **agent}
        made.append(Agent(StepSettings(allow_loopback=True, agents={"writer": AgentSettings(**settings)})))
        secrets = Secrets({"FLOWFORGE_SECRET_LLM": "sk-canary-4711", "FLOWFORGE_SECRET_ORG": "org-canary-17"})
        step = assignment("agent", {**QUESTION, **(config or {})}, input={"name": "Ada"}, secrets=secrets)
        return await attempt(made[-1], step, Heard().report)

    run.servers = servers  # type: ignore[attr-defined]
    yield run
    for executor in made:
        await executor.close()


def failure(outcome: Outcome) -> tuple[str, bool]:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.code, outcome.error.retryable


async def test_an_answer_comes_with_all_that_is_said_about_it(ask):
    outcome = await ask(
        completion(),
        {"parameters": {"max_tokens": 50, "top_p": None}, "system": "Be brief"},
        secret="llm",
        parameters={"temperature": 0, "top_p": 1},
        headers={"X-Org": "{{ secrets.org }}"},
        system="Be long",
    )

    assert outcome == Completed(
        {
            "output": "Hello, Ada",
            "agent_id": "writer",
            "text": "Hello, Ada",
            "model": "small-2",
            "finish_reason": "stop",
            "usage": USAGE,
            "id": "c-1",
        }
    )
    (request,) = ask.servers[0].requests
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-canary-4711"
    assert request.headers["x-org"] == "org-canary-17"
    assert request.headers["idempotency-key"].endswith(":it")
    assert json.loads(request.body) == {
        "model": "small",
        "temperature": 0,
        "max_tokens": 50,
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Say hello to Ada"}],
    }


async def test_a_conversation_and_a_value_can_be_sent(ask):
    conversation = [{"role": "system", "content": "s"}, {"role": "user", "content": "{{ input.name }}"}]
    await ask(completion(), {"input": None, "messages": conversation}, system="not this one")
    await ask(completion(), {"input": {"who": "{{ input.name }}"}})
    first, second = (json.loads(server.requests[0].body)["messages"] for server in ask.servers)

    assert first == [{"role": "system", "content": "s"}, {"role": "user", "content": "Ada"}]
    assert second == [{"role": "user", "content": '{"who":"Ada"}'}]


@pytest.mark.parametrize(
    "text", ['{"risk": "low"}', '```json\n{"risk": "low"}\n```', [{"type": "text", "text": '{"risk": "low"}'}]]
)
async def test_structured_output_is_a_value(ask, text):
    outcome = await ask(completion(text), {"output_schema": SCHEMA})

    assert isinstance(outcome, Completed)
    assert isinstance(outcome.output, dict)
    assert outcome.output["output"] == {"risk": "low"}
    sent = json.loads(ask.servers[0].requests[0].body)
    assert sent["response_format"] == {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA}}


async def test_structured_output_that_is_not_as_the_schema_says_is_named(ask):
    outcome = await ask(completion('{"risk": "medium"}'), {"output_schema": SCHEMA})

    assert failure(outcome) == ("AGENT_SCHEMA_VIOLATION", True)
    assert isinstance(outcome, Failed)
    assert "output.risk: 'medium' is not one of ['low', 'high']" in outcome.error.message
    assert outcome.error.details["usage"] == USAGE  # type: ignore[index, call-overload]
    assert failure(await ask(completion("Certainly!"), {"output_schema": SCHEMA})) == ("AGENT_BAD_OUTPUT", True)


async def test_too_many_requests_are_waited_for_as_long_as_the_server_says(ask):
    outcome = await ask(response("slow down", "429 Too Many Requests", retry_after="17"))

    assert failure(outcome) == ("HTTP_429", True)
    assert isinstance(outcome, Failed)
    assert outcome.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        (response("oops", "503 Service Unavailable"), "HTTP_503", True),
        (response('{"error": {"message": "no such model"}}', "404 Not Found"), "HTTP_404", False),
        (response("no", "302 Found", location="http://127.0.0.1:1/"), "HTTP_302", False),
        (response("<html>it works</html>", content_type="text/html"), "AGENT_BAD_ANSWER", True),
        (response(b"\xff\xfe\x00", content_type="application/json"), "AGENT_BAD_ANSWER", True),
        (response('{"choices": []}'), "AGENT_BAD_ANSWER", True),
        (response('{"choices": [{"message": "text"}]}'), "AGENT_BAD_ANSWER", True),
        (response('{"error": {"message": "overloaded"}}'), "AGENT_BAD_ANSWER", True),
        (response("[" * 100_000), "AGENT_BAD_ANSWER", True),
        (response(""), "AGENT_BAD_ANSWER", True),
        (completion()[:-20], "NETWORK", True),
        (completion("Hello, A", "length"), "AGENT_INCOMPLETE", False),
        (completion("", "content_filter"), "AGENT_REFUSED", False),
        (completion(None, refusal="I cannot help with that"), "AGENT_REFUSED", False),
        (response(b"x" * 2_000_000), "TOO_LARGE", False),
    ],
)
async def test_what_cannot_be_used_has_a_code_of_its_own(ask, answer, code, retryable):
    """Half an answer is cut by the connection, or by the model."""

    async def once(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    assert failure(await ask(once)) == (code, retryable)


async def test_an_agent_that_nobody_knows_is_not_asked(ask):
    outcome = await ask(completion(), {"agent_id": "writr"})

    assert failure(outcome) == ("AGENT_UNKNOWN", False)
    assert isinstance(outcome, Failed)
    assert "did you mean 'writer'?" in outcome.error.message
    assert ask.servers[0].requests == []


async def test_an_agent_whose_secret_is_missing_is_not_asked(ask):
    outcome = await ask(completion(), secret="absent")

    assert failure(outcome) == ("SECRET_MISSING", False)
    assert isinstance(outcome, Failed)
    assert "FLOWFORGE_SECRET_ABSENT" in str(outcome.error.hint)
    assert ask.servers[0].requests == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"parameters": {"stream": True}}, "'parameters.stream' cannot be set"),
        ({"input": None, "messages": "{{ input.name }}"}, "'messages' must be a list"),
        ({"input": "{{ get(input.none, '') }}"}, "give one of input, prompt, messages"),
        ({"output_schema": "{{ {'type': 'objct'} }}"}, "output_schema is not a valid JSON Schema"),
    ],
)
async def test_a_configuration_that_makes_no_sense_costs_no_request(ask, config, words):
    outcome = await ask(completion(), config)

    assert failure(outcome) == ("BAD_CONFIG", False)
    assert isinstance(outcome, Failed)
    assert words in outcome.error.message
    assert ask.servers[0].requests == []


async def test_an_agent_may_not_be_at_an_address_that_steps_may_not_call(serve):
    server = await serve(completion())
    executor = Agent(StepSettings(agents={"writer": AgentSettings(server.url("/v1"), "small")}))
    outcome = await attempt(executor, assignment("agent", {"agent_id": "writer", "input": "hi"}), Heard().report)
    await executor.close()

    assert failure(outcome) == ("ADDRESS_REFUSED", False)
    assert server.requests == []


async def test_an_attempt_that_is_out_of_time_hangs_up(serve):
    asked = asyncio.Event()

    async def never(_: Any, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    server = await serve(never)
    executor = Agent(StepSettings(allow_loopback=True, agents={"writer": AgentSettings(server.url("/v1"), "small")}))
    step = assignment("agent", {"agent_id": "writer", "input": "hi"})
    task = asyncio.create_task(attempt(executor, step, Heard().report))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert failure(await attempt(executor, step, Heard().report, timedelta(milliseconds=20))) == ("TIMEOUT", True)
    await executor.close()


async def test_a_refused_credential_names_the_secret_and_shows_nothing(ask):
    """Servers like to quote the key that they do not accept."""
    outcome = await ask(response("bad key sk-canary-4711", "401 Unauthorized"), secret="llm")

    assert failure(outcome) == ("HTTP_401", False)
    assert isinstance(outcome, Failed)
    assert outcome.error.hint == "check the secret 'llm'"
    assert "sk-canary-4711" not in repr(outcome)
