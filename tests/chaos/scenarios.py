"""The forty scenarios: what breaks, and where a test here does less than that, what it does and why.

The numbers are those of the tests' names. `make chaos` prints the differences of what it has run.
"""

from __future__ import annotations

#: What breaks.
SCENARIOS = {
    1: "a worker is killed in the middle of an HTTP step",
    2: "a worker is killed between its effect and the commit, and at every other named point",
    3: "a worker is frozen beyond its lease and comes back after its successor has committed",
    4: "the same, while its successor is at work",
    5: "a relay is killed between XADD and COMMIT",
    6: "a relay is killed after the commit of its deletion",
    7: "FLUSHALL during 500 active runs",
    8: "the stream server is killed, stays away, comes back empty; it is full",
    9: "the stream server comes back with an older append-only file",
    10: "a stream or a group is deleted, or evicted",
    11: "sessions of Postgres are terminated at random",
    12: "Postgres is stopped without a checkpoint every few seconds",
    13: "the answer to COMMIT is lost",
    14: "the network to Postgres falls silent",
    15: "the network to the stream server falls silent during a blocking read",
    16: "deadlocks and serialization failures",
    17: "a worker's clock is wrong, or jumps",
    18: "the disk of Postgres is full",
    19: "the disk of a function is full",
    20: "the cable between one worker and Postgres is pulled",
    21: "one worker cannot reach the stream server",
    22: "HTTP servers that drip, bomb, redirect without end",
    23: "results that are too large, too deep, or no JSON that Postgres stores",
    24: "entries in the streams that nobody can read",
    25: "every message five times, shuffled, late",
    26: "functions that crash, eat memory, fork; a step that kills its worker",
    27: "a function that ignores SIGTERM and leaves daemons behind",
    28: "a worker is killed with a child at work",
    29: "ten thousand branches, one of them failing",
    30: "a chain of five thousand steps; two hundred levels; runs that start runs without end",
    31: "cancelling at every moment of a run",
    32: "two operators steer the same run at once",
    33: "fifty starts with one idempotency key; the key after its window",
    34: "a worker dies while it undoes a run; what cannot be undone; cancelling meanwhile",
    35: "schedules and timers over changed clocks and absent workers",
    36: "SIGTERM under load, twice, and SIGKILL within the grace time",
    37: "workers of two releases; a migration on a live system",
    38: "a transaction of somebody else that stays open",
    39: "workers that are starved, and an event loop that is blocked",
    40: "Postgres is restored from a backup beside living streams",
}

#: What is less than the scenario, and why.
DIFFERENCES = {
    8: "down for as long as 141 runs take without it, not for a minute",
    11: "ten sessions a second until 84 runs have ended, not five for a minute",
    14: "silent until the other worker has taken over, not for ten minutes: nothing waits longer than a lease",
    17: "the clock is moved inside the interpreter: there is no faketime to rely on",
    18: "there is no HTTP API yet: a refused start is exit code 4 instead of a 503",
    26: "the fork bomb has a bound: no limit on processes stops root, and others use the machine",
    31: "two hundred moments in a seed, so five seeds are the thousand",
    35: "there are no schedules yet: the library that will say when they are due, and timers, stand in for them",
    38: "open for as long as 210 runs take, not for half an hour",
    40: "a copy of the data at rest stands in for point-in-time recovery: to the streams it is the same",
}
