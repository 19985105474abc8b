"""Rows of the table of steps, and the run as it was at any moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from flowforge.model import comparing
from flowforge.model.outcome import Expanded
from flowforge.model.phase import Kind
from flowforge_tui.run import about, attempts, compare, header, history, payload, picture, rows, scrubber
from flowforge_tui.run.bars import Window
from flowforge_tui.run.columns import Columns, drawn
from flowforge_tui.run.definition import Definition
from flowforge_tui.run.header import Standing
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.text import plain
from flowforge_tui.run.wrapping import cells
from tests.factories import foreach, step
from tests.support import orders
from tests.support.watched import Watched


def live(order: Watched) -> Picture:
    definition = Definition.read(order.definition)
    return picture.live(order.run(), definition, order.events(), order.bench.now)


def whole(order: Watched) -> Window:
    return Window(order.run().created_at, order.bench.now)


def names(made: list[rows.Row]) -> list[str]:
    return [row.key for row in made]


# -- rows ---------------------------------------------------------------------------------------------------


def test_each_step_has_one_row_in_the_order_of_the_graph() -> None:
    made = rows.build(live(orders.begun()))
    assert names(made)[:4] == ["validate", "reserve_stock", "charge_card", "fraud_check"]
    assert names(made)[-1] == "send_email"


def test_items_are_folded_into_one_row_that_counts_them_and_can_be_opened() -> None:
    seen = live(orders.begun())
    folded = next(row for row in rows.build(seen) if row.key == "label")
    assert (folded.inside, folded.over, folded.open) == (3, 1, False)
    made = rows.build(seen, {"label"})
    assert [row.name for row in made if row.key.startswith("label[")] == ["[0]", "[1]", "[2]"]


def test_items_that_have_not_begun_are_counted_too() -> None:
    each = foreach("label", children=[step("print")], max_parallel=1)
    order = Watched({"name": "labels", "concurrency": "unlimited", "steps": [each]})
    order.bench.claim("label")
    order.bench.settle("label", Expanded({"items": [1, 2, 3, 4, 5]}, 5))
    (row,) = rows.build(live(order))
    assert (row.over, row.inside) == (0, 5)


def test_a_parallel_step_runs_while_what_is_inside_it_does() -> None:
    made = {row.key: row for row in rows.build(live(orders.begun()))}
    assert made["tell"].step.status.value == "pending"
    assert (made["tell"].status, made["tell"].note) == ("running", "")


def test_a_folded_row_shows_what_is_inside_it_on_its_bar() -> None:
    folded = next(row for row in rows.build(live(orders.begun())) if row.key == "label")
    assert {one.kind for one in folded.intervals} >= {Kind.EXECUTION, Kind.BLOCKED}


def test_children_of_a_parallel_step_stand_below_it_and_can_be_folded() -> None:
    seen = live(orders.begun())
    assert "tell.mail" in names(rows.build(seen))
    assert "tell.mail" not in names(rows.build(seen, {"tell"}))


def test_what_undoes_a_step_has_a_row_at_the_end() -> None:
    made = rows.build(live(orders.failed()))
    assert (made[-1].key, made[-1].rail) == ("reserve_stock:compensate", "↺")


def test_a_step_that_was_not_reached_says_what_blocks_it() -> None:
    notes = {row.key: row.note for row in rows.build(live(orders.failed()))}
    assert notes["release"] == "blocked by charge_card"
    waiting = {row.key: row.note for row in rows.build(live(orders.begun()))}
    assert waiting["release"] == "after charge_card, fraud_check"


def test_a_wait_for_the_next_attempt_is_called_retrying() -> None:
    assert {row.key: row.status for row in rows.build(live(orders.begun()))}["charge_card"] == "retrying"


def test_failures_only_shows_what_failed_or_was_tried_again() -> None:
    assert names(rows.build(live(orders.failed()), failures=True)) == ["charge_card"]


def test_a_run_whose_definition_cannot_be_read_still_has_its_rows() -> None:
    order = orders.begun()
    seen = picture.live(order.run(), Definition({}, None), order.events(), order.bench.now)
    assert set(names(rows.build(seen))) >= {"validate", "charge_card"}


# -- columns ------------------------------------------------------------------------------------------------


def test_a_row_fits_the_width_whatever_is_in_it() -> None:
    order = orders.begun()
    made = rows.build(live(order), {"label"})
    for width in (60, 80, 120, 200):
        columns = Columns.of(made, width)
        window = whole(order)
        assert all(cells(drawn(row, columns, window, order.bench.now)) <= width for row in made)


def test_a_row_without_line_characters_is_ascii() -> None:
    order = orders.failed()
    made = rows.build(live(order), unicode=False)
    columns = Columns.of(made, 120)
    text = plain([drawn(row, columns, whole(order), order.bench.now, unicode=False) for row in made])
    assert text.isascii()
    assert "x FAILED" in text
    assert "=x~" in text


# -- time ---------------------------------------------------------------------------------------------------


def test_the_past_is_the_run_as_it_was_after_each_of_its_events() -> None:
    order = orders.failed()
    present = live(order)
    seen = [picture.at(present, position) for position in range(len(present.events) + 1)]
    charged = [one.steps["charge_card"].attempts for one in seen]
    assert charged == sorted(charged)
    assert seen[-1].run.status == present.run.status
    left = {step_id: one.status for step_id, one in seen[-1].steps.items()}
    assert left == {step_id: one.status for step_id, one in present.steps.items()}


def test_the_past_has_no_output_of_what_had_not_ended() -> None:
    present = live(orders.begun())
    assert picture.at(present, 3).steps["validate"].output is None
    assert present.steps["validate"].output is not None


def test_items_that_had_not_been_entered_are_not_there_in_the_past() -> None:
    present = live(orders.begun())
    assert "label[0]" in present.steps
    assert "label[0]" not in picture.at(present, 5).steps


def test_going_forth_from_the_last_event_is_the_present() -> None:
    assert scrubber.moved(None, -1, 10) == 9
    assert scrubber.moved(9, 1, 10) is None
    assert scrubber.moved(None, 1, 10) is None
    assert scrubber.moved(1, -1, 10) == 1
    assert scrubber.moved(5, -1_000_000, 10) == 1


def test_the_parts_of_the_time_sum_to_the_whole() -> None:
    for order in (orders.begun(), orders.failed(), orders.asking(), orders.good()):
        seen = live(order)
        assert seen.ledger is not None
        assert sum(seen.ledger.parts.values(), timedelta()) == seen.end - seen.run.created_at


def test_the_critical_path_leads_from_the_first_step_to_the_last_that_ended() -> None:
    undoing = {"reserve_stock:compensate"}
    assert live(orders.failed()).critical - undoing == {"validate", "reserve_stock", "charge_card"}


def test_a_picture_of_a_later_moment_is_what_looking_again_would_show() -> None:
    order = orders.begun()
    before = live(order)
    assert before.ledger is not None
    order.bench.after(seconds=0.7)
    again, later = live(order), before.later(order.bench.now)
    assert later.ledger is not None
    assert again.ledger is not None
    assert later.ledger.parts == again.ledger.parts
    assert later.end == again.end
    assert later.critical == again.critical


# -- words --------------------------------------------------------------------------------------------------


def test_attempts_say_when_where_and_how_each_ended() -> None:
    order = orders.failed()
    found = attempts.of_step(order.events(), "charge_card")
    assert [one.no for one in found] == [1, 2, 3, 4]
    assert [one.outcome for one in found] == ["retrying", "retrying", "retrying", "failed"]
    text = plain(attempts.lines(found, 4, order.bench.now))
    assert "4/4" in text
    assert "next attempt after 8.0s" in text
    assert "HTTP_503" in text


def test_an_error_reads_the_same_however_its_names_are_ordered() -> None:
    seen = live(orders.failed())
    step = seen.steps["charge_card"]
    error = step.error or {}
    other = replace(step, error=dict(reversed(error.items())))
    assert list(error) != list(other.error or {})
    assert about.tab("Error", seen, other) == about.tab("Error", seen, step)


def test_user_data_is_shown_as_it_is_and_drives_nothing() -> None:
    order = orders.begun()
    seen = live(order)
    text = plain(about.tab("Output", seen, seen.steps["validate"]))
    assert "[bold red]" in text
    assert "\\u001b" in text
    assert "\\u202e" in text
    assert "\x1b" not in text
    logged = plain(history.log_lines([("a", 1, "\x1b[31mred\x1b[0m \x07bell\r\nend\x9b2J")]))
    assert "red \\u0007bell" in logged
    assert "\x9b" not in logged


def test_large_payloads_are_bounded_and_say_what_is_missing() -> None:
    assert len(payload.lines({str(no): [no] * 1_000 for no in range(5_000)})) <= payload.MOST_LINES + 1
    assert "more characters" in plain(payload.lines("x" * 1_000_000))
    deep: object = 1
    for _ in range(900):
        deep = [deep]
    assert len(plain(payload.lines(deep))) < 200_000


def test_code_has_the_line_numbers_of_the_whole_definition() -> None:
    seen = live(orders.failed())
    text = plain(about.tab("Code", seen, seen.steps["charge_card"]))
    assert "- id: charge_card" in text
    child = plain(about.tab("Code", seen, seen.steps["tell.mail"]))
    assert "id: mail" in child
    assert plain(about.tab("Code", seen, seen.steps["reserve_stock:compensate"])).count("compensate:") == 1


def test_the_head_says_that_it_is_the_past_that_it_is_paused_and_that_it_lost_its_source() -> None:
    present = live(orders.begun())
    past = plain(header.lines(picture.at(present, 4), Standing(), 200))
    assert "PAST" in past
    troubled = plain(header.lines(present, Standing("Postgres cannot be reached", paused=True), 200))
    assert "PAUSED" in troubled
    assert "Postgres cannot be reached; trying again" in troubled


# -- two runs -----------------------------------------------------------------------------------------------


def test_two_runs_are_compared_step_by_step_and_the_first_difference_is_marked() -> None:
    found = comparing.compare(orders.good(UUID(int=2)).capsule(), orders.failed().capsule())
    text = plain([*compare.head(found), compare.heading(found, 140), *compare.rows(found, 140)])
    charged = next(line for line in text.splitlines() if line[1:].startswith("charge_card"))
    assert ("✓ DONE" in charged, "✗ FAILED" in charged) == (True, True)
    assert "status, attempts, output, error" in charged
    assert text.count("they part here") == 1
    assert text.count("◆") == 1
    assert "order_id" in text


def test_a_run_compared_with_itself_differs_in_nothing() -> None:
    found = comparing.compare(orders.good().capsule(), orders.good().capsule())
    assert "only times differ" in plain(compare.head(found))
    assert compare.rows(found, 120, different=True) == []
