"""The public Python API: one asynchronous client, and the same client for notebooks and scripts."""

from flowforge.client.core import AsyncClient
from flowforge.client.sync import Client

__all__ = ["AsyncClient", "Client"]
