"""What looks like a credential does not leave the installation in a capsule."""

from dataclasses import replace

from flowforge.model.masking import MASK, Mask
from tests.factories import chain
from tests.support.capsules import capsule
from tests.unit.decisions.bench import Bench


def masked(value, *more):
    bench = Bench(chain(1))
    bench.drive()
    return Mask(more).capsule(capsule(bench, input=value))


def test_texts_in_fields_with_telling_names_are_taken_out():
    value = {"user": "ada", "Password": "x", "headers": {"X-Api-Key": "k", "authorization": "Bearer t"}, "n": 1}
    found = masked(value)
    assert found.run.input == {
        "user": "ada",
        "Password": MASK,
        "headers": {"X-Api-Key": MASK, "authorization": MASK},
        "n": 1,
    }
    assert found.redacted == ("run.input.Password", "run.input.headers.X-Api-Key", "run.input.headers.authorization")


def test_everything_under_such_a_field_is_taken_out_and_counts_are_not():
    found = masked({"credentials": {"id": "a", "keys": ["b", 5]}, "total_tokens": 12, "token": None})
    assert found.run.input == {"credentials": {"id": MASK, "keys": [MASK, MASK]}, "total_tokens": 12, "token": None}


def test_more_names_can_be_given():
    assert masked({"diagnosis": "x", "age": 5}, "diagnosis").run.input == {"diagnosis": MASK, "age": 5}


def test_what_a_definition_reads_from_elsewhere_stays():
    bench = Bench(chain(1))
    made = capsule(bench)
    made = replace(made, definition={**made.definition, "x": {"token": "{{ secrets.t }}", "secret": "literal"}})
    assert Mask().capsule(made).definition["x"] == {"token": "{{ secrets.t }}", "secret": MASK}


def test_children_are_searched_too():
    bench = Bench(chain(1))
    made = capsule(bench, children=(capsule(bench, input={"pin": 1, "password": "x"}),))
    (child,) = Mask().capsule(made).children
    assert (child.run.input, child.redacted) == ({"pin": 1, "password": MASK}, ("run.input.password",))
