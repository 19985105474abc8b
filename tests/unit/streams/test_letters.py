"""Dead letters are bounded whatever is put into them."""

from hypothesis import given
from hypothesis import strategies as st

from flowforge_streams import Delivery
from flowforge_streams.letters import read_letter, write_letter


def through(delivery, reason):
    """Write a letter and read it back, its values as bytes as a server returns them."""
    written = write_letter(delivery, reason)
    raw = {name: v if isinstance(v, bytes) else str(v).encode() for name, v in written.items()}
    return read_letter("1700000000000-0", raw)


@given(
    fields=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=128), st.binary(max_size=64), max_size=32),
    reason=st.text(st.characters(codec="utf-8"), max_size=100),
)
def test_a_small_entry_comes_through_unchanged(fields, reason):
    """Also when its field names look like ours."""
    letter = through(Delivery("s", "1-1", fields, 1, reclaimed=False), reason)
    assert (letter.fields, letter.reason, letter.entry_id) == (fields, reason, "1-1")
    assert not letter.truncated


def test_what_is_cut_off_is_admitted():
    """A long value, a long name and too many fields each count."""
    for fields in ({"v": b"x" * 5_000}, {"n" * 200: b""}, {str(n): b"" for n in range(40)}):
        assert through(Delivery("s", "1-1", fields, 1, reclaimed=False), "why").truncated


def test_a_reason_with_lone_surrogates_can_be_written():
    """Text made from hostile input must not stop the burial."""
    assert through(Delivery("s", "1-1", {"a": b""}, 1, reclaimed=False), "bad \ud800").reason == "bad \\ud800"


def test_the_time_of_burial_is_in_the_id():
    """By the clock of the server that stored it."""
    letter = read_letter("1700000000500-3", {})
    assert letter.buried_at.isoformat() == "2023-11-14T22:13:20.500000+00:00"
