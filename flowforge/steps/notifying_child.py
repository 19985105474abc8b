"""The part of a notification that runs in a child process: apprise is synchronous, and may hang wherever it likes."""

from __future__ import annotations

import logging
from typing import Any

import apprise


class _Said(logging.Handler):
    """Keeps what apprise says about what it does: nothing else tells why a message was not delivered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split()))


def deliver(addresses: list[str], message: dict[str, str]) -> list[dict[str, Any]]:
    """Send a message to every address, and say for each why it was not delivered."""
    logger = logging.getLogger("apprise")
    # What it says becomes the error; of its own accord it would be in the log a second time.
    logger.propagate = False
    return [_send(address, message, logger) for address in addresses]


def _send(address: str, message: dict[str, str], logger: logging.Logger) -> dict[str, Any]:
    said = _Said()
    logger.addHandler(said)
    try:
        # Nothing is loaded from, or kept in, the folders of the user whom the worker runs as.
        asset = apprise.AppriseAsset(plugin_paths=[], storage_mode="memory", async_mode=False)
        service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
        if service is None:
            return _failure(said, "the address is not one that apprise knows", retryable=False)
        delivered = service.notify(
            body=message["body"] or message["title"],
            title=message["title"] if message["body"] else "",
            notify_type=message["severity"],
            body_format=message["format"],
        )
    except Exception as error:  # noqa: BLE001 - the other addresses are to be told nonetheless
        return _failure(said, f"{type(error).__name__}: {error}", retryable=True)
    finally:
        logger.removeHandler(said)
    if delivered:
        return {"error": None, "retryable": False}
    return _failure(said, "not delivered, for no reason that apprise says", retryable=True)


def _failure(said: _Said, otherwise: str, *, retryable: bool) -> dict[str, Any]:
    return {"error": "; ".join(said.lines[:5]) or otherwise, "retryable": retryable}
