"""Definitions for the commands about them: checked files, versions by name, data as documents and YAML."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.model.diagnostics import Diagnostic
    from flowforge.store.workflows import Version


@dataclass(frozen=True)
class Checked:
    """A file and what is wrong with it."""

    path: Path
    text: str | None
    findings: tuple[Diagnostic, ...]

    @property
    def valid(self) -> bool:
        """Whether nothing is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def document(self) -> dict[str, Any]:
        """Return it as data."""
        findings = [finding.document() for finding in self.findings]
        return {"file": str(self.path), "valid": self.valid, "diagnostics": findings}


def check(path: Path) -> Checked:
    """Check one file; raises only when it cannot be read."""
    from flowforge.client.publishing import read
    from flowforge.errors import DefinitionError
    from flowforge.model.diagnostics import Diagnostic
    from flowforge.model.load import load
    from flowforge.steps.registry import config_schema

    try:
        text = read(path)
    except DefinitionError as error:
        return Checked(path, None, error.diagnostics or (Diagnostic("FF002", error.message),))
    try:
        loaded = load(text, filename=str(path), schemas=config_schema)
    except DefinitionError as error:
        return Checked(path, text, error.diagnostics or (Diagnostic("FF001", error.message),))
    return Checked(path, text, tuple(loaded.warnings))


def named(reference: str) -> tuple[str, int | None]:
    """Return the parts of `name@version`."""
    from flowforge.errors import UsageError

    name, sign, number = reference.partition("@")
    if sign and not number.isdecimal():
        raise UsageError(f"'{reference}' is not name@version: '{number}' is not a number")
    return name, int(number) if sign else None


async def version(client: AsyncClient, reference: str) -> Version:
    """Return the version that a reference means: the newest published one, else the newest."""
    name, number = named(reference)
    return await client.version(name, number)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as data: times as RFC 3339 in UTC."""
    from flowforge.model.documents import rfc3339

    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}


def yaml_text(definition: Mapping[str, Any]) -> str:
    """Return a definition as YAML, in the order it is stored."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 120
    text = io.StringIO()
    yaml.dump(dict(definition), text)
    return text.getvalue()
