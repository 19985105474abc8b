"""`flowforge config`: what is set, and by whom."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from flowforge_cli import render, session
from flowforge_cli.masking import masked
from flowforge_cli.options import JsonOption, sub_app
from flowforge_cli.text import Row, Span, duration, table

app = sub_app("Show settings and where each comes from.")


@app.callback()
def config() -> None:
    """Show settings and where each comes from."""


@app.command()
def show(json: JsonOption = False) -> None:
    """Show every setting, its value and what decided it. Passwords are masked.

    What is given on the command line wins, then FLOWFORGE_* variables, then flowforge.toml here or above, then the
    user's file, then the default.

    \b
    Examples:
      flowforge config show
      FLOWFORGE_LEASE=5s flowforge config show --json | jq .settings.lease
    """  # noqa: D301
    from flowforge.settings import Settings, variable

    found = session.loaded()
    rows = []
    for name, field in Settings.model_fields.items():
        value, source = getattr(found.settings, name), found.sources[name]
        rows.append((name, value, source, variable(name), field.description or ""))
    if json:
        settings = {
            name: {"value": _plain(value), "source": source, "variable": environment, "description": text}
            for name, value, source, environment, text in rows
        }
        render.document({"schema": "flowforge/config/v1", "settings": settings})
        return
    shown: list[Row] = [
        [Span(name, "strong"), _shown(value), source, environment] for name, value, source, environment, _ in rows
    ]
    render.out(*table(("SETTING", "VALUE", "FROM", "VARIABLE"), shown))
    if found.settings.embedded:
        render.hint(f"the embedded servers are used, in {session.home(found.settings).path}")


def _shown(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return duration(value)
    return ", ".join(value) if isinstance(value, tuple) else masked(str(value))


def _plain(value: Any) -> Any:
    from flowforge.contacts import Named

    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, Named):
        return value.shown()
    if isinstance(value, str | Path | SecretStr):
        return masked(str(value))
    return list(value) if isinstance(value, tuple) else value
