"""How durations are said to the server, so that no rounding ever turns a short wait into BLOCK 0: for ever."""

import math
from datetime import timedelta


def milliseconds(duration: timedelta) -> int:
    """Give a duration as the server counts it, rounded up; a negative one is 0."""
    return max(0, -(duration // timedelta(milliseconds=-1)))


def block_words(seconds: float) -> tuple[str, int] | tuple[()]:
    """Word how long a read may block: rounded up, and no word at all for a wait that is over."""
    return ("BLOCK", math.ceil(seconds * 1000)) if seconds > 0 else ()
