"""What the parts of a definition have in common: strictness, `x-` keys, durations, retry and error settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from flowforge.model import duration
from flowforge.model.retry import Backoff, RetryPolicy


def _whole(value: Any) -> Any:
    """JSON Schema counts 2.0 among the integers, and so do definitions."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: A whole number, also when it is written with a fraction of zero.
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema({"type": "integer"})]

#: Attempts of a step.
MAX_ATTEMPTS = 100


class Settings(BaseModel):
    """A mapping of a definition: unknown keys are errors, keys that begin with `x-` are notes and are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_notes(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if isinstance(key, str) and key.startswith("x-"):
                    return {key: value for key, value in data.items() if not str(key).startswith("x-")}
        return data


def _duration(value: Any) -> timedelta:
    return duration.parse(value)


def _positive(value: Any) -> timedelta:
    parsed = duration.parse(value)
    if parsed < timedelta(milliseconds=1):
        raise ValueError("the duration must be at least a millisecond")
    return parsed


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "minLength": 2, "examples": ["500ms", "30s", "1m30s", "2h", "1d", "PT30S"]},
    ]
}
_SERIALISE = PlainSerializer(duration.text, return_type=str)

#: A duration as people write it; a number is milliseconds.
Duration = Annotated[timedelta, BeforeValidator(_duration), _SERIALISE, WithJsonSchema(_DURATION_SCHEMA)]
#: A duration that is not zero.
Timeout = Annotated[timedelta, BeforeValidator(_positive), _SERIALISE, WithJsonSchema(_DURATION_SCHEMA)]

#: The name of a queue.
Queue = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$", max_length=64)]


class RetrySettings(Settings):
    """When a failed attempt is followed by another one."""

    #: Attempts in all, the first one included.
    max_attempts: Whole | None = Field(None, ge=1, le=MAX_ATTEMPTS, description="Attempts in all, the first included.")
    backoff: Literal["fixed", "linear", "exponential"] | None = Field(None, description="How the wait grows.")
    initial_delay: Duration | None = Field(None, description="The wait before the second attempt.")
    factor: float | None = Field(None, ge=1, le=100, description="Growth of an exponential wait.")
    max_delay: Duration | None = Field(None, description="The longest wait.")
    jitter: bool | None = Field(None, description="Whether waits vary, so that failures do not come back at once.")
    max_elapsed: Timeout | None = Field(None, description="Longest time of all attempts together, waits included.")
    max_crashes: Whole | None = Field(
        None, ge=0, le=MAX_ATTEMPTS, description="Workers it may take down before it is parked as poison."
    )
    retry_on: tuple[str, ...] | None = Field(
        None, description="Kinds or codes to try again; without it, every error that can pass."
    )

    @model_validator(mode="before")
    @classmethod
    def _aliases(cls, data: Any) -> Any:
        """Accept the other spellings of the source documents."""
        if not isinstance(data, dict) or data.keys().isdisjoint(_RETRY_SPECIAL):
            return data
        data = dict(data)
        for alias, name in _RETRY_ALIASES.items():
            if alias in data:
                if name in data:
                    raise ValueError(f"'{alias}' and '{name}' are the same setting, give one")
                value = data.pop(alias)
                data[name] = _attempts(value) if alias == "max_retries" else value
        kinds = data.get("retry_on")
        if isinstance(kinds, str):
            data["retry_on"] = (kinds,)
        elif isinstance(kinds, list):
            data["retry_on"] = tuple(kinds)
        return data

    def policy(self, base: RetryPolicy) -> RetryPolicy:
        """Return *base* with what is given here in its place."""
        return RetryPolicy(
            max_attempts=base.max_attempts if self.max_attempts is None else self.max_attempts,
            backoff=base.backoff if self.backoff is None else Backoff(self.backoff),
            initial_delay=base.initial_delay if self.initial_delay is None else self.initial_delay,
            factor=base.factor if self.factor is None else self.factor,
            max_delay=base.max_delay if self.max_delay is None else self.max_delay,
            jitter=base.jitter if self.jitter is None else self.jitter,
            retry_on=base.retry_on if self.retry_on is None else self.retry_on,
            max_elapsed=base.max_elapsed if self.max_elapsed is None else self.max_elapsed,
            max_crashes=base.max_crashes if self.max_crashes is None else self.max_crashes,
        )


_RETRY_ALIASES = {
    "max_retries": "max_attempts",
    "backoff_factor": "factor",
    "retry_delay": "initial_delay",
    "delay": "initial_delay",
}

_RETRY_SPECIAL = frozenset({*_RETRY_ALIASES, "retry_on"})


def _attempts(retries: Any) -> Any:
    retries = _whole(retries)
    if isinstance(retries, int) and not isinstance(retries, bool):
        if not 0 <= retries < MAX_ATTEMPTS:
            raise ValueError(f"'max_retries' must be between 0 and {MAX_ATTEMPTS - 1}")
        return retries + 1
    raise ValueError("'max_retries' must be a whole number")


class ErrorHandling(Settings):
    """What a step's final failure does, and the retries before that."""

    on_error: Literal["fail", "continue", "skip", "retry"] | None = Field(
        None, description="`retry` tries again by the settings here and then fails."
    )
    max_retries: Whole | None = Field(None, ge=0, le=MAX_ATTEMPTS - 1, description="Attempts after the first.")
    retry_delay: Duration | None = Field(None, description="The wait before the second attempt.")

    def policy(self, base: RetryPolicy) -> RetryPolicy:
        """Return *base* with the retries given here."""
        attempts = None if self.max_retries is None else self.max_retries + 1
        return RetrySettings(max_attempts=attempts, initial_delay=self.retry_delay).policy(base)
