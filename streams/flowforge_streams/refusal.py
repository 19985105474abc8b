"""What the driver raised, in our words: which failures pass by themselves, and which are the caller's."""

from redis import exceptions as driver

from .errors import GroupMissing, StreamError, StreamFull, StreamRefused, StreamUnavailable

#: Everything by which the driver says that the server was not reached or did not answer.
UNREACHABLE = (driver.ConnectionError, driver.TimeoutError, driver.InvalidResponse, TimeoutError, OSError)

#: Answers that pass by themselves: starting, failing over, busy with a script, disk trouble.
_TRANSIENT = frozenset(
    {"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS"}
)

#: UNBLOCKED is how older servers tell a blocked reader that its stream was deleted.
_GROUP_MISSING = frozenset({"NOGROUP", "UNBLOCKED"})


def translated(error: BaseException) -> StreamError:
    """Turn what the driver raised into one of ours; the caller raises it `from` the original."""
    # Over a unix socket the driver wraps a wrong password in a plain ConnectionError.
    root = error.__cause__ if isinstance(error.__cause__, driver.AuthenticationError) else error
    if isinstance(root, driver.AuthenticationError | driver.AuthorizationError):
        return StreamRefused(str(root), code="NOAUTH")
    if isinstance(root, driver.ResponseError):
        return _answered(root)
    return StreamUnavailable(f"the stream server is not available: {str(root) or type(root).__name__}")


def _answered(error: driver.ResponseError) -> StreamError:
    # The driver cuts the code off the messages it has a class for, and only off those.
    message = str(error)
    code = getattr(error, "status_code", None) or message.partition(" ")[0]
    if code in _GROUP_MISSING:
        return GroupMissing(message, code=code)
    if code == "OOM":
        return StreamFull(message)
    if code in _TRANSIENT:
        return StreamUnavailable(f"the stream server is not available: {code} {message}")
    return StreamRefused(message, code=code)
