"""Local servers: a Postgres and a Valkey of one's own, started when needed and left up until told otherwise."""

from flowforge.local.home import Home, default_home
from flowforge.local.supervisor import Endpoints, ServerStatus, Status, down, places, running, status, up

__all__ = ["Endpoints", "Home", "ServerStatus", "Status", "default_home", "down", "places", "running", "status", "up"]
