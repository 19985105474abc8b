"""Whom an installation's workflows may ask and tell: agents by id, targets of messages by name.

Definitions choose names; what stands behind a name is the operator's alone. Whatever shows a setting shows no
credential: an address is written without all that may be one.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Secret, field_validator

V = TypeVar("V")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)")
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
#: An expression, as templates hold it.
_REFERENCE = re.compile(r"\{\{.*?\}\}")


class Agent(BaseModel):
    """An OpenAI-compatible server, and how it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(min_length=1, repr=False, description="Address that /chat/completions is added to")
    model: str = Field(min_length=1, description="Model that answers unless a step's parameters name another")
    secret: str | None = Field(None, description="Name of the secret that is sent as bearer token")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters of every request")
    system: str | None = Field(None, description="System message, unless the step has one")
    headers: dict[str, Secret[str]] = Field(default_factory=dict, description="More headers of every request")

    @field_validator("base_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not re.match(r"https?://[^/]", value, re.IGNORECASE):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    def __str__(self) -> str:
        """Return what may be shown."""
        secret = f", secret {self.secret}" if self.secret else ""
        return f"{self.model} at {_USERINFO.sub('***@', self.base_url)}{secret}"


class Address(Secret[str]):
    """Where messages go, as apprise writes it: credentials may stand anywhere behind the scheme."""

    def _display(self) -> str:
        text = self.get_secret_value()
        references = "".join(_REFERENCE.findall(text))
        if references == text.strip():
            return text
        scheme = _SCHEME.match(text)
        return f"{scheme.group()}://***{references}" if scheme else f"***{references}"


class Named(dict[str, V], Generic[V]):
    """Entries by name, that are shown in one line."""

    def shown(self) -> dict[str, str]:
        """Return every entry as it may be shown."""
        return {name: _shown(entry) for name, entry in self.items()}

    def __str__(self) -> str:
        return "; ".join(f"{name}: {text}" for name, text in self.shown().items()) or "-"


def _shown(entry: object) -> str:
    return ", ".join(map(str, entry)) if isinstance(entry, tuple) else str(entry)


def _table(value: object) -> object:
    """Read a variable's JSON; what a file holds is a table already."""
    if not isinstance(value, str):
        return value
    try:
        read = json.loads(value)
    except ValueError as error:
        # The position only: the text holds credentials.
        position = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"not a JSON object{position}") from None
    return read


def _addresses(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: (entry,) if isinstance(entry, str) else entry for name, entry in value.items()}


Name = Annotated[str, Field(min_length=1, max_length=100)]
Agents = Annotated[dict[Name, Agent], BeforeValidator(_table), AfterValidator(Named[Agent])]
Targets = Annotated[
    dict[Name, Annotated[tuple[Address, ...], Field(min_length=1)]],
    BeforeValidator(_addresses),
    BeforeValidator(_table),
    AfterValidator(Named[tuple[Address, ...]]),
]
