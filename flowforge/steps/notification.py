"""The notification step: one message to targets that the installation names, and what became of it for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowforge.model.json import InvalidJson, encode
from flowforge.model.outcome import Completed, Failed, Outcome, StepError
from flowforge.steps import notifying, secrets
from flowforge.steps.failures import ConfigError, rendered
from flowforge.steps.notifying import Delivery, Message, Notifier

if TYPE_CHECKING:
    from flowforge.steps.base import Assignment, Report
    from flowforge.steps.settings import StepSettings

#: Other words for the same, as people write them.
_TARGETS = ("targets", "target", "to", "channel")
_TITLES = ("title", "subject")
_BODIES = ("body", "message", "text")


class Notification:
    """Sends `title` and `body` to `targets` and gives `{targets: {name: {delivered, error}}, delivered, failed}`."""

    def __init__(self, settings: StepSettings) -> None:
        self._notifier = Notifier(settings)

    async def run(self, assignment: Assignment, report: Report) -> Outcome:
        """Return what became of the message."""
        config = rendered(assignment)
        names, message, enough = _targets(config), _message(config), _require(config)
        try:
            deliveries = await self._notifier.send(names, message, secrets.of(assignment.context), report.log)
        except notifying.UnknownTarget as error:
            return _refused("TARGET_UNKNOWN", error.message, error.hint)
        except notifying.NotInstalled as error:
            return _refused("NOTIFICATION_UNAVAILABLE", error.message, error.hint)
        failed = [delivery for delivery in deliveries if not delivery.delivered]
        delivered = len(deliveries) - len(failed)
        if delivered < (1 if enough == "any" else len(deliveries)):
            return _failed(deliveries, failed)
        return Completed({"targets": _documents(deliveries), "delivered": delivered, "failed": len(failed)})

    async def close(self) -> None:
        """End the child processes."""
        await self._notifier.close()


def _failed(deliveries: tuple[Delivery, ...], failed: list[Delivery]) -> Failed:
    reasons = "; ".join(f"{delivery.target}: {delivery.error}" for delivery in failed)
    details = {"targets": _documents(deliveries)}
    if len(failed) == len(deliveries):
        retryable = any(delivery.retryable for delivery in failed)
        message = f"nobody was told: {reasons}"
        return Failed(StepError("NOTIFICATION_FAILED", message, ("notification",), retryable, details=details))
    return Failed(
        StepError(
            code="NOTIFICATION_PARTIAL",
            message=f"{len(failed)} of {len(deliveries)} targets were not told: {reasons}",
            kinds=("notification",),
            # Another attempt would tell the others a second time.
            retryable=False,
            hint="give each target a step of its own, or say require: any; retry_on: [NOTIFICATION_PARTIAL] tells all "
            "of them again",
            details=details,
        )
    )


def _refused(code: str, message: str, hint: str | None) -> Failed:
    return Failed(StepError(code, message, ("notification",), retryable=False, hint=hint))


def _documents(deliveries: tuple[Delivery, ...]) -> dict[str, Any]:
    return {delivery.target: delivery.document() for delivery in deliveries}


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((config[name] for name in names if config.get(name) not in (None, "", [])), None)


def _targets(config: Mapping[str, Any]) -> list[str]:
    value = _first(config, _TARGETS)
    names = value if isinstance(value, list) else [value]
    if value is None or not all(isinstance(name, str) and name for name in names):
        raise ConfigError("'targets' must name whom to tell", hint="targets are named in [targets] of flowforge.toml")
    return names


def _message(config: Mapping[str, Any]) -> Message:
    title, body = _text("title", _first(config, _TITLES)), _text("body", _first(config, _BODIES))
    if not title and not body:
        raise ConfigError("a notification needs a 'body' or a 'title'")
    return Message(
        title=" ".join(title.split()),
        body=body,
        format=_among(config, "format", notifying.FORMATS),
        severity=_among(config, "severity", notifying.SEVERITIES),
    )


def _require(config: Mapping[str, Any]) -> str:
    return _among(config, "require", ("all", "any"))


def _among(config: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = config.get(key)
    if value is None:
        return choices[0]
    if value not in choices:
        raise ConfigError(f"'{key}': {str(value)[:40]!r} is not one of {', '.join(choices)}")
    return str(value)


def _text(key: str, value: Any) -> str:
    """Return text as it is, and anything else as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return encode(value)
    except InvalidJson as error:
        raise ConfigError(f"'{key}' {error.message}") from None
