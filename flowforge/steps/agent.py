"""The agent step: one question to an OpenAI-compatible server, whose answer is checked before it counts.

Which servers there are is the operator's to say (`[agents.<id>]`); a step names one. The request goes through the same
guarded network, with the same limits, as those of http steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowforge.model import template
from flowforge.model.diagnostics import closest
from flowforge.model.outcome import Completed, Failed, Outcome, StepError
from flowforge.steps import agent_answer, agent_question, http_request, secrets
from flowforge.steps.agent_question import Question
from flowforge.steps.failures import rendered
from flowforge.steps.http_config import Options
from flowforge.steps.http_sender import Sender
from flowforge.steps.limits import storable

if TYPE_CHECKING:
    from flowforge.steps.base import Assignment, Report
    from flowforge.steps.http_network import Resolver
    from flowforge.steps.secrets import Secrets
    from flowforge.steps.settings import AgentSettings, StepSettings

#: Answers that say something about the credentials rather than the question.
_NOT_ALLOWED = frozenset({"HTTP_401", "HTTP_403"})


class Agent:
    """Asks, and gives `{output, text, model, finish_reason, usage, …}`."""

    def __init__(self, settings: StepSettings, resolve: Resolver | None = None) -> None:
        self._settings = settings
        self._sender = Sender(settings, resolve)

    async def run(self, assignment: Assignment, report: Report) -> Outcome:  # noqa: ARG002 - nothing to report
        """Return the answer, or why there is none that can be used."""
        question = agent_question.read(rendered(assignment))
        agent = self._settings.agents.get(question.agent_id)
        if agent is None:
            return _unknown(question.agent_id, self._settings.agents)
        request = http_request.build(
            {
                "method": "POST",
                "url": f"{agent.base_url.rstrip('/')}/chat/completions",
                "headers": await _headers(agent, secrets.of(assignment.context)),
                "json": agent_question.document(question, agent),
            },
            self._sender.headers(assignment) | {"accept": "application/json"},
        )
        # No redirects: a question goes, with its credentials, where the operator said or nowhere.
        reply = await self._sender.send(request, Options(max_bytes=question.max_bytes, max_redirects=0))
        if isinstance(reply, Failed):
            return _advised(reply, agent)
        return self._completed(question, agent_answer.read(reply.body.data))

    async def close(self) -> None:
        """Close all connections."""
        await self._sender.close()

    def _completed(self, question: Question, answer: agent_answer.Answer | Failed) -> Outcome:
        if isinstance(answer, Failed):
            return answer
        output = agent_answer.output(answer, question)
        if isinstance(output, Failed):
            return output
        document = {"output": output.value, "agent_id": question.agent_id, **answer.document()}
        return storable(Completed(document), self._settings.max_step_bytes)[0]


async def _headers(agent: AgentSettings, held: Secrets) -> dict[str, Any]:
    """Return the agent's own headers, with its secrets in their places."""
    written = template.compile(dict(agent.headers))
    for name in sorted(written.references.secrets):
        await held.need(name)
    headers = written.render({"secrets": held})
    assert isinstance(headers, dict)
    if agent.secret is not None:
        headers = {"Authorization": f"Bearer {await held.need(agent.secret)}", **headers}
    return headers


def _unknown(agent_id: str, agents: Any) -> Failed:
    meant = closest(agent_id, agents)
    suggestion = f" (did you mean '{meant}'?)" if meant else ""
    known = ", ".join(sorted(agents)) or "none"
    return Failed(
        StepError(
            code="AGENT_UNKNOWN",
            message=f"this worker knows no agent '{agent_id[:100]}'{suggestion}",
            kinds=("agent",),
            retryable=False,
            hint=f"add [agents.{agent_id[:100]}] to flowforge.toml where workers run, or to FLOWFORGE_AGENTS; "
            f"there are: {known}",
        )
    )


def _advised(failed: Failed, agent: AgentSettings) -> Failed:
    """Return a failure that says where the agent's credentials come from, if they were refused."""
    if failed.error.code not in _NOT_ALLOWED:
        return failed
    named = f"check the secret '{agent.secret}'" if agent.secret else "the agent has no secret: give it one"
    error = failed.error
    return Failed(StepError(error.code, error.message, error.kinds, error.retryable, named, error.details))
