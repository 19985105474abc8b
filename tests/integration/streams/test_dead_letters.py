"""Burying what nobody can use."""

from datetime import UTC, datetime, timedelta

from flowforge_streams import Entry


async def test_a_buried_entry_leaves_the_group_and_is_kept_as_evidence(log, group, stream):
    """The letter has the original id, the reason, the raw fields and the time."""
    await log.publish([Entry(stream, {"v": b"\xff\x00", "reason": "mine"})])
    (delivery,) = await group.read("a", count=1)
    await group.bury(delivery, "unknown version: 'é'")
    (letter,) = await group.dead()
    assert (letter.entry_id, letter.reason) == (delivery.entry_id, "unknown version: 'é'")
    assert letter.fields == {"v": b"\xff\x00", "reason": b"mine"}
    assert not letter.truncated
    assert abs(datetime.now(UTC) - letter.buried_at) < timedelta(minutes=1)
    assert (await group.depth()).length == 0
    assert await group.pending(limit=1) == []


async def test_a_huge_entry_is_cut_before_it_is_kept(log, group, stream):
    """Evidence must not fill the server: few fields, short values, short names, short reasons."""
    fields = {"big": b"x" * 1_000_000, "n" * 1_000: b"1"} | {f"f{n}": b"" for n in range(100)}
    await log.publish([Entry(stream, fields)])
    (delivery,) = await group.read("a", count=1)
    await group.bury(delivery, "r" * 100_000)
    (letter,) = await group.dead()
    assert letter.truncated
    size = len(letter.reason) + sum(len(name) + len(value) for name, value in letter.fields.items())
    assert size < 10_000
    assert fields["big"].startswith(letter.fields["big"])


async def test_dead_letters_are_listed_newest_first(log, group, stream):
    """The limit bounds the list."""
    await log.publish([Entry(stream, {"n": n}) for n in range(3)])
    deliveries = await group.read("a", count=3)
    for delivery in deliveries:
        await group.bury(delivery, "bad")
    letters = await group.dead(limit=2)
    assert [letter.entry_id for letter in letters] == [deliveries[2].entry_id, deliveries[1].entry_id]


async def test_there_are_no_dead_letters_to_begin_with(group):
    """A list, and no error, when the dead stream does not exist."""
    assert await group.dead() == []
