"""Addresses without their passwords, for everything that is shown."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?<=://)([^/@\s]*?):[^/\s]*@")
_PARAMETER = re.compile(r"((?:^|[?&\s])(?:password|sslpassword|passfile)=)('[^']*'|[^&\s]+)", re.IGNORECASE)


def masked(address: str) -> str:
    """Return a URL or connection string with every password replaced by dots."""
    without = _USERINFO.sub(r"\1:***@", address)
    return _PARAMETER.sub(r"\1***", without)
