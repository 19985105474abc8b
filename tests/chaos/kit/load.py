"""What is run while things break: shapes of workflows, each with effects that the sink sees.

Every effect goes to `@sink/<step>/<run>`, so a call says for itself which step of which run it belongs to.
Scenarios run the seven that end quickly and well by themselves; a soak runs all, those too that wait for others or are
undone.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.acceptance.kit.sink import Handler

LINEAR = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: a, type: http, config: {method: POST, url: "@sink/a/{{ run.id }}"}}
      - {id: b, type: http, depends_on: a, config: {method: POST, url: "@sink/b/{{ run.id }}"}}
      - {id: c, type: http, depends_on: b, config: {method: POST, url: "@sink/c/{{ run.id }}"}}
"""
PYTHON = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: count, type: transform, config: {expression: "input.n + 1"}}
      - id: py
        type: python
        depends_on: count
        config: {function: "shop:effect", args: {url: "@sink/py/{{ run.id }}"}}
      - {id: after, type: http, depends_on: py, config: {method: POST, url: "@sink/after/{{ run.id }}"}}
"""
FAN = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: first, type: http, config: {method: POST, url: "@sink/first/{{ run.id }}"}}
      - id: fan
        type: parallel
        depends_on: first
        config:
          steps:
            - {id: one, type: http, config: {method: POST, url: "@sink/fan.one/{{ run.id }}"}}
            - {id: two, type: http, config: {method: POST, url: "@sink/fan.two/{{ run.id }}"}}
            - {id: three, type: transform, config: {expression: "input.n * 2"}}
      - {id: join, type: http, depends_on: fan, config: {method: POST, url: "@sink/join/{{ run.id }}"}}
"""
BRANCH = """
    queue: @queue
    concurrency: unlimited
    steps:
      - id: choice
        type: conditional
        config: {condition: "input.n % 2 == 0", branches: {"true": {target_step: even}, "false": {target_step: odd}}}
      - {id: even, type: http, config: {method: POST, url: "@sink/even/{{ run.id }}"}}
      - {id: odd, type: http, config: {method: POST, url: "@sink/odd/{{ run.id }}"}}
      - {id: end, type: http, depends_on: [even, odd], config: {method: POST, url: "@sink/end/{{ run.id }}"}}
"""
DELAY = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: before, type: http, config: {method: POST, url: "@sink/before/{{ run.id }}"}}
      - {id: pause, type: delay, depends_on: before, config: {duration: 300ms}}
      - {id: later, type: http, depends_on: pause, config: {method: POST, url: "@sink/later/{{ run.id }}"}}
"""
FLAKY = """
    queue: @queue
    concurrency: unlimited
    steps:
      - id: flaky
        type: http
        config: {method: POST, url: "@sink/flaky/{{ run.id }}"}
        retry: {max_attempts: 6, initial_delay: 100ms, max_delay: 1s, retry_on: [network, timeout, http_5xx]}
      - {id: then, type: http, depends_on: flaky, config: {method: POST, url: "@sink/then/{{ run.id }}"}}
"""
GATED = """
    queue: @queue
    concurrency: {limit: 5, key: "{{ input.n % 2 }}"}
    steps:
      - {id: in, type: http, config: {method: POST, url: "@sink/in/{{ run.id }}"}}
      - {id: out, type: http, depends_on: in, config: {method: POST, url: "@sink/out/{{ run.id }}"}}
"""

ITEMS = """
    queue: @queue
    concurrency: unlimited
    steps:
      - id: each
        type: foreach
        config:
          items: "[0, 1, 2, 3]"
          max_parallel: 2
          step: {type: http, config: {method: POST, url: "@sink/item/{{ run.id }}-{{ item }}"}}
      - {id: sum, type: http, depends_on: each, config: {method: POST, url: "@sink/sum/{{ run.id }}"}}
"""
PATIENCE = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: ask, type: http, config: {method: POST, url: "@sink/ask/{{ run.id }}"}}
      - {id: word, type: wait_signal, depends_on: ask, config: {timeout: 300ms, on_timeout: continue}}
      - {id: went, type: http, depends_on: word, config: {method: POST, url: "@sink/went/{{ run.id }}"}}
"""
INNER = """
    queue: @queue
    concurrency: unlimited
    steps: [{id: inside, type: http, config: {method: POST, url: "@sink/inside/{{ run.id }}"}}]
"""
OUTER = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: child, type: workflow, config: {name: inner}}
      - {id: told, type: http, depends_on: child, config: {method: POST, url: "@sink/told/{{ run.id }}"}}
"""
SAGA = """
    queue: @queue
    concurrency: unlimited
    steps:
      - id: reserve
        type: http
        config: {method: POST, url: "@sink/reserve/{{ run.id }}"}
        compensate: {type: http, config: {method: DELETE, url: "@sink/reserve:compensate/{{ run.id }}"}}
      - id: charge
        type: http
        depends_on: reserve
        config: {method: POST, url: "@sink/charge/{{ run.id }}"}
        compensate: {type: http, config: {method: DELETE, url: "@sink/charge:compensate/{{ run.id }}"}}
      - id: ship
        type: http
        depends_on: charge
        retry: {max_attempts: 1}
        config: {method: POST, url: "@sink/ship/{{ run.id }}"}
"""

SHAPES = {
    "linear": LINEAR,
    "python": PYTHON,
    "fan": FAN,
    "branch": BRANCH,
    "delay": DELAY,
    "flaky": FLAKY,
    "gated": GATED,
}
#: Those of a soak; `outer` starts runs of `inner`, and every `saga` fails and is undone.
ALL = SHAPES | {"items": ITEMS, "patience": PATIENCE, "outer": OUTER, "saga": SAGA}
#: The first parts of the paths that are simply answered.
EFFECTS = (
    *("a", "b", "c", "py", "after", "first", "fan.one", "fan.two", "join"),
    *("even", "odd", "end", "before", "later", "then", "in", "out"),
    *("item", "sum", "ask", "went", "inside", "told"),
    *("reserve", "charge", "reserve:compensate", "charge:compensate"),
)


@dataclass(slots=True)
class Busy:
    """Answers after a random while, so that faults meet calls under way."""

    longest: float
    random: random.Random

    def __call__(self, handler: Handler) -> None:
        time.sleep(self.random.uniform(0, self.longest))
        handler.reply(200, {}, {})


@dataclass(slots=True)
class Flaky:
    """Refuses the first calls of every path, then answers."""

    failures: int
    _calls: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, handler: Handler) -> None:
        with self._lock:
            self._calls[handler.path] += 1
            number = self._calls[handler.path]
        handler.reply(503 if number <= self.failures else 200, {}, {})
