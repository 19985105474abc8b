"""Arguments of python functions: typed as declared, with the context where it is wanted."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from flowforge.steps.context import StepContext
from flowforge.steps.python_arguments import BadArguments, Target

CONTEXT = StepContext(run_id="r")


class Colour(Enum):
    RED = "red"


@dataclass
class Line:
    sku: str
    price: Decimal


class Order(BaseModel):
    id: UUID
    lines: list[Line]


def call(function, args):
    bound = Target.of(function).bind(args, CONTEXT)
    return function(*bound.args, **bound.kwargs)


def test_arguments_become_what_the_annotations_say():
    """Whatever pydantic can make of JSON."""

    def function(
        amount: Decimal,
        day: date,
        at: datetime,
        colour: Colour,
        order: Order,
        pair: tuple[int, str],
        *,
        name: str | None,
    ):
        return amount, day, at, colour, order, pair, name

    uuid = "01890000-0000-7000-8000-000000000001"
    args = {
        "amount": "12.30",
        "day": "2026-02-03",
        "at": "2026-02-03T04:05:06Z",
        "colour": "red",
        "order": {"id": uuid, "lines": [{"sku": "a", "price": 1}]},
        "pair": [1, "x"],
        "name": None,
    }

    assert call(function, args) == (
        Decimal("12.30"),
        date(2026, 2, 3),
        datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
        Colour.RED,
        Order(id=UUID(uuid), lines=[Line("a", Decimal(1))]),
        (1, "x"),
        None,
    )


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ({"n": "many"}, "'n'"),
        ({"n": 5}, "'n'"),
        ({"n": 1, "order": {"id": "x", "lines": []}}, "'order.id'"),
        ({"n": 1, "more": [1, "two"]}, "'more.1'"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(args, path):
    """By its path, without its value: it may be a secret."""

    def function(n: Annotated[int, Field(lt=5)], order: Order | None = None, more: list[int] | None = None):
        return n

    with pytest.raises(BadArguments, match=path):
        call(function, args)


@pytest.mark.parametrize("args", [{}, {"a": 1, "c": 2}, [], [1, 2, 3], {"b": 1}])
def test_arguments_that_a_function_does_not_take_are_refused(args):
    """The message shows what it takes."""

    def function(a: int, b: int = 0):
        return a, b

    with pytest.raises(BadArguments, match=r"it takes \(a: 'int', b: 'int' = 0\)"):
        call(function, args)


def test_arguments_may_come_by_position():
    """The context takes its own place among them."""

    def first(context: StepContext, a: int, b: int):
        return context.run_id, a, b

    def last(a: int, b: int = 5, *rest: int, context: StepContext):
        return context.run_id, a, b, rest

    assert call(first, ["1", 2]) == ("r", 1, 2)
    assert call(last, [1]) == ("r", 1, 5, ())
    assert call(last, [1, 2, "3"]) == ("r", 1, 2, (3,))


def test_positional_only_parameters_can_be_named():
    """A definition that names arguments need not know how the function was declared."""

    def function(a: int, context: StepContext, b: int = 2, /, c: int = 3):
        return a, context.run_id, b, c

    assert call(function, {"a": 1, "b": 5, "c": 6}) == (1, "r", 5, 6)
    assert call(function, {"a": 1, "c": 6}) == (1, "r", 2, 6)


def test_the_context_goes_to_who_wants_it():
    """By annotation under any name, or by the names context and ctx without annotation."""

    def annotated(me: StepContext):
        return me

    def optional(me: StepContext | None = None):
        return me

    def quoted(me: StepContext):
        return me

    def named(context, ctx):
        return (context, ctx)

    for function in (annotated, optional, quoted):
        assert call(function, {}) is CONTEXT
    assert call(named, {}) == (CONTEXT, CONTEXT)


def test_a_context_of_the_users_own_is_left_alone():
    """When it is annotated as something else, or given."""

    def other(context: dict[str, Any]):
        return context

    def given(context):
        return context

    assert call(other, {"context": {"a": 1}}) == {"a": 1}
    assert call(given, {"context": 5}) == 5
    with pytest.raises(BadArguments):
        call(other, {})


def test_every_kind_of_callable_is_understood():
    """Classes, instances, partial functions, decorated ones, keyword collectors."""

    class Made:
        def __init__(self, n: int, ctx: StepContext):
            self.n = n

    class Callable:
        def __call__(self, n: int):
            return n

    def plain(a: int, n: int, **rest: Decimal):
        return a, n, rest

    @functools.wraps(plain)
    def decorated(*args, **kwargs):
        return plain(*args, **kwargs)

    assert call(Made, {"n": "5"}).n == 5
    assert call(Callable(), {"n": "5"}) == 5
    assert call(functools.partial(plain, 1), {"n": "5"}) == (1, 5, {})
    assert call(decorated, {"a": "1", "n": "5", "x": "1.5"}) == (1, 5, {"x": Decimal("1.5")})


def test_annotations_that_cannot_be_read_do_not_stop_a_call():
    """A name that exists only for the type checker, a class that pydantic does not know."""

    class Odd:
        pass

    def function(a: Missing, b: Odd, c: int, context: StepContext):  # type: ignore[name-defined]  # noqa: F821 - that is the point
        return a, b, c, context.run_id

    assert call(function, {"a": 1, "b": 2, "c": "3"}) == (1, 2, "3", "r")
