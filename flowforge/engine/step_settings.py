"""From an installation's settings to what executors may know of them."""

from __future__ import annotations

from flowforge.contacts import Agent
from flowforge.engine.fence import KILL_AFTER
from flowforge.settings import Settings
from flowforge.steps.settings import AgentSettings, StepSettings


def step_settings(settings: Settings) -> StepSettings:
    """Return what executors need of an installation's settings."""
    return StepSettings(
        allow_private_addresses=settings.allow_private_addresses,
        allow_loopback=settings.loopback_allowed,
        allowed_hosts=settings.allowed_hosts,
        max_response_bytes=settings.max_step_bytes,
        max_step_bytes=settings.max_step_bytes,
        python_processes=settings.python_processes,
        python_path=settings.python_path,
        python_memory_bytes=settings.python_memory_bytes,
        # A function that is stopped because its lease is running out has to be gone when that has ended.
        kill_grace=min(settings.kill_grace, settings.lease * KILL_AFTER),
        agents={name: _agent(agent) for name, agent in settings.agents.items()},
        targets={
            name: tuple(address.get_secret_value() for address in addresses)
            for name, addresses in settings.targets.items()
        },
        secrets_from=settings.secrets_from,
        secrets_dir=settings.secrets_dir,
    )


def _agent(agent: Agent) -> AgentSettings:
    return AgentSettings(
        base_url=agent.base_url,
        model=agent.model,
        secret=agent.secret,
        parameters=agent.parameters,
        system=agent.system,
        headers={name: value.get_secret_value() for name, value in agent.headers.items()},
    )
