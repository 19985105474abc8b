"""A run with everything that a screen has to show: a retry, a failure, items, children, an approval, undoing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flowforge.model.outcome import Completed, Expanded, StepError, Waiting
from tests.factories import foreach, parallel, step, undo, waiting
from tests.support.watched import Watched
from tests.unit.decisions.bench import RUN, Bench

UNAVAILABLE = StepError("HTTP_503", "503 Service Unavailable from payments.example", kinds=("http_5xx",))
RETRY = {"max_attempts": 4, "initial_delay": "2s", "factor": 2, "jitter": False}


def definition() -> dict[str, Any]:
    """Return an order: validate, reserve; charge and a fraud check side by side; a mail at the end."""
    return {
        "name": "orders-fulfil",
        "concurrency": "unlimited",
        "steps": [
            step("validate"),
            step("reserve_stock", "validate", reads=["validate"], compensate=undo()),
            step("charge_card", "reserve_stock", retry=RETRY),
            step("fraud_check", "reserve_stock"),
            foreach("label", "validate", children=[step("print")]),
            parallel("tell", "validate", children=[step("mail"), step("sms")]),
            waiting("release", "charge_card", "fraud_check", type="approval"),
            step("send_email", "release", "label", "tell"),
        ],
    }


def begun(run_id: UUID = RUN) -> Watched:
    """Return an order that waits for its second attempt to charge, and whose items are half done."""
    order = Watched(definition(), run_id=run_id, given={"order_id": 4711, "items": [1, 2, 3]})
    bench = order.bench
    _work(order, "validate", 0.4)
    order.outputs["validate"] = {"result": {"ok": True, "note": "[bold red]\x1b[31mred\u202e[/]"}}
    order.logs.append(("validate", 1, "checked 3 items\n\x1b[32mok\x1b[0m\n"))
    _work(order, "reserve_stock", 1.2)
    bench.claim("charge_card")
    bench.claim("label", worker="w2")
    bench.after(seconds=0.3)
    bench.settle("label", Expanded({"items": [1, 2, 3]}, 3))
    _work(order, "label[0]", 0.5)
    _work(order, "tell.mail", 0.2)
    bench.claim("label[1]", worker="w2")
    bench.after(seconds=0.6)
    _fail(order)
    bench.after(seconds=0.5)
    return order


def failed(run_id: UUID = RUN, *, undone: bool = True) -> Watched:
    """Return an order whose card could not be charged, and that was undone, or is about to be."""
    order = begun(run_id)
    bench = order.bench
    bench.settle("label[1]", Completed(None))
    for one in ("label[2]", "tell.sms", "label", "tell", "fraud_check"):
        _work(order, one, 0.4)
    for _ in range(3):
        bench.now = max(bench.now, bench.step("charge_card").due_at or bench.now)
        bench.wake()
        bench.after(seconds=0.1)
        bench.claim("charge_card")
        bench.after(seconds=0.8)
        _fail(order)
    if undone:
        bench.drive()
    return order


def asking(run_id: UUID = RUN) -> Watched:
    """Return an order that waits for somebody's approval."""
    order = good(run_id, until="release")
    order.bench.claim("release")
    order.bench.settle("release", Waiting(None, approvals=1))
    order.bench.after(minutes=5)
    return order


def good(run_id: UUID = RUN, until: str = "") -> Watched:
    """Return an order that went well, or until a step."""
    order = Watched(definition(), run_id=run_id, given={"order_id": 4712, "items": [1, 2, 3]})
    names = ["validate", "reserve_stock", "charge_card", "fraud_check"]
    for name in names:
        _work(order, name, 0.5)
    if not until:
        order.bench.drive()
    return order


def undoing(run_id: UUID = RUN) -> Watched:
    """Return an order whose card could not be charged, and whose reservation is being undone."""
    order = failed(run_id, undone=False)
    order.bench.claim("reserve_stock:compensate")
    order.bench.after(seconds=0.4)
    return order


def cancelled(run_id: UUID = RUN) -> Watched:
    """Return an order that somebody has cancelled."""
    order = begun(run_id)
    order.bench.cancel()
    order.bench.drive()
    return order


def held(run_id: UUID = RUN) -> Watched:
    """Return an order that somebody has paused."""
    order = begun(run_id)
    order.bench.pause()
    order.bench.after(minutes=2)
    return order


def gated(run_id: UUID = RUN) -> Watched:
    """Return an order of which nothing has begun: its gate has no room."""
    order = Watched(definition(), run_id=run_id, given={"order_id": 4713, "items": []})
    order.bench = Bench(order.bench.plan, admit=False)
    order.bench.after(seconds=42)
    return order


def long(run_id: UUID = RUN) -> Watched:
    """Return a run of sixty steps, half of which are done."""
    chain = [step("s0"), *(step(f"s{no}", f"s{no - 1}") for no in range(1, 60))]
    order = Watched({"name": "long-one", "concurrency": "unlimited", "steps": chain}, run_id=run_id)
    for no in range(30):
        _work(order, f"s{no}", 0.1 + no % 3)
    order.bench.claim("s30")
    order.bench.after(seconds=1)
    return order


def _work(order: Watched, name: str, seconds: float) -> None:
    order.bench.after(seconds=0.05)
    order.bench.claim(name)
    order.bench.after(seconds=seconds)
    order.bench.settle(name, Completed(None))
    order.outputs.setdefault(name, {"result": name})


def _fail(order: Watched) -> None:
    from flowforge.model.outcome import Failed

    order.bench.settle("charge_card", Failed(UNAVAILABLE))
