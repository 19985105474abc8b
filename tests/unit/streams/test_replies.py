"""Raw replies become values, whatever the version of the server."""

from datetime import timedelta

from flowforge_streams import replies
from flowforge_streams.standing import Consumer, Pending


def test_rows_are_split_into_deliveries_and_what_is_gone():
    """A body, an id without a body, a bare nil and a nil pair each end up in their place."""
    rows = [[b"1-1", [b"k", b"v"]], [b"1-2", None], None, [None, None]]
    found, gone, nameless = replies.deliveries("s", rows, delivered=1)
    assert [(one.entry_id, one.fields) for one in found] == [("1-1", {"k": b"v"})]
    assert gone == ["1-2"]
    assert nameless == 2


def test_a_field_name_that_is_no_text_is_escaped():
    """A hostile name must not stop the reader."""
    assert replies.decoded_fields([b"\xff\n", b"\xff"]) == {"\\xff\n": b"\xff"}


def test_no_reply_has_no_rows():
    """Nil is what a read gets when nothing came in time."""
    assert list(replies.first_stream(None)) == []
    assert list(replies.first_stream([[b"s", [b"row"]]])) == [b"row"]


def test_unknown_columns_of_newer_servers_are_ignored():
    """XINFO CONSUMERS grew `inactive` in 7.2."""
    row = [b"name", b"a", b"pending", 2, b"idle", 1500, b"inactive", 7]
    assert replies.consumers([row]) == [Consumer("a", 2, timedelta(seconds=1.5))]


def test_pending_rows_keep_idle_time_and_count():
    """The extended form of XPENDING."""
    assert replies.pending([[b"1-1", b"a", 250, 3]]) == [Pending("1-1", "a", timedelta(milliseconds=250), 3)]


def test_an_info_section_is_a_mapping():
    """Comments and empty lines are left out; a value may contain colons."""
    assert replies.info(b"# Memory\r\nused:1\r\n\r\nrole:a:b\r\n") == {"used": "1", "role": "a:b"}
