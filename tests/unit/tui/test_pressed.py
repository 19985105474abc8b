"""An account of which test presses which key on which screen: a key that no test presses fails here."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from flowforge_tui import keys
from flowforge_tui.keys import Key

HERE = Path(__file__).parent
#: What every list has, and what every screen has of its own behind the same keys.
WALKED, OPENED = "test_every_list_is_walked_by_its_keys", "test_enter_opens_what_is_under_the_cursor"
LISTS = {**dict.fromkeys((key.id for key in keys.MOVE), WALKED), "open": OPENED}
LEFT = dict.fromkeys(("back", "leave"), "test_every_screen_is_left_by_escape_and_by_q")
COPIED = dict.fromkeys(("copy", "copy-command"), "test_name_and_command_are_copied")
STEPS = "test_the_steps_of_a_run_are_walked_by_their_keys"
PAST, ZOOM = (
    "test_a_step_back_and_one_forth_is_the_present_again",
    "test_plus_and_minus_zoom_and_arrows_move_within_the_run",
)
SIZES = dict.fromkeys(("larger", "smaller"), "test_both_keys_of_a_size_change_it")
PANES = dict.fromkeys(("larger", "smaller"), "test_panes_have_both_keys_of_a_size")
DIFF = "test_a_difference_is_swapped_compared_again_and_copied"
FOLDS = "test_keys_open_fold_and_go_from_one_to_the_next"
OWN = ("copy", "copy-command", "back", "leave")

#: Screen: its keys, and by id the test that presses each of them there.
ACCOUNT: dict[str, tuple[Sequence[Key], dict[str, str]]] = {
    "everywhere": (
        [key for key in (*keys.SHELL, *keys.STEER) if key.id not in OWN],
        {
            **dict.fromkeys(("queues", "workers", "schedules", "incidents"), "test_digits_lead_to_screens_and_q_back"),
            **dict.fromkeys(("runs", "imported"), "test_a_digit_leads_to_imported_runs_and_one_back"),
            **dict.fromkeys(("previous", "next"), "test_brackets_turn_the_screens"),
            "command": "test_a_command_is_run_and_at_stands_for_the_run",
            "palette": "test_the_palette_opens",
            "help": "test_the_keys_of_a_view_are_shown",
            "pause-live": "test_p_holds_the_screen_still",
            "refresh": "test_everything_is_read_again",
            "interrupt": "test_ctrl_c_says_first_that_runs_keep_going",
            "quit": "test_one_key_quits_wherever_one_is",
            "retry": "test_retrying_one_failed_run_asks_nothing",
            "cancel": "test_cancel_asks_with_the_safe_choice_in_focus_and_takes_a_reason",
            "replay": "test_replay_takes_a_step_and_an_edited_input",
            "hold": "test_one_key_pauses_and_resumes",
            "approve": "test_what_is_asked_is_decided",
            "reject": "test_what_is_asked_is_decided",
            "signal": "test_a_signal_is_sent_with_the_name_that_is_waited_for",
            "skip": "test_a_run_goes_on_without_a_step",
            "hold-workflow": "test_a_workflow_is_paused_from_the_list_of_runs_and_resumed_from_the_queues",
        },
    ),
    "runs": (
        [*keys.LIST, *keys.RUNS],
        {
            **LISTS,
            **SIZES,
            "filter": "test_a_filter_narrows_while_one_types_and_escape_takes_it_away",
            "failures": "test_f_shows_failures_and_then_what_was_there",
            "next-match": "test_n_goes_from_match_to_match",
            "previous-match": "test_n_goes_from_match_to_match",
            "mark": "test_space_marks_and_escape_unmarks",
            "sort": "test_sorting_goes_from_column_to_column_and_turns_round",
            "sort-reverse": "test_sorting_goes_from_column_to_column_and_turns_round",
            "explain": "test_explain_and_logs_of_the_run_under_the_cursor",
            "logs": "test_explain_and_logs_of_the_run_under_the_cursor",
            "difference": "test_two_marked_runs_are_compared_and_one_is_not_enough",
            "copy": "test_y_copies_the_id_and_o_the_command",
            "copy-command": "test_y_copies_the_id_and_o_the_command",
            "back": "test_space_marks_and_escape_unmarks",
            "leave": "test_q_at_the_root_quits_and_closes_the_client",
        },
    ),
    "queues": (
        [*keys.LIST, *keys.WORKERS, *keys.QUEUES],
        {
            **LISTS,
            **LEFT,
            **COPIED,
            "drain": "test_a_worker_is_drained_and_dead_letters_are_listed",
            "dead-letters": "test_a_worker_is_drained_and_dead_letters_are_listed",
            "hold": "test_one_key_pauses_a_queue_and_resumes_it",
        },
    ),
    "schedules": ([], {**LEFT, **COPIED}),
    "incidents": (
        [*keys.LIST, *keys.INCIDENTS],
        {
            **LISTS,
            **LEFT,
            **COPIED,
            "resolve": "test_an_incident_is_resolved_with_what_was_done",
            "resolved": "test_f_shows_resolved_incidents_too",
            "explain": "test_e_explains_the_run_of_an_incident",
        },
    ),
    "imported": (
        [*keys.LIST, *keys.IMPORTED],
        {**LISTS, **LEFT, **COPIED, "forget": "test_an_imported_run_is_forgotten_when_that_is_confirmed"},
    ),
    "run": (
        [*keys.LIST, *keys.RUN, *keys.TIMELINE],
        {
            **dict.fromkeys((key.id for key in keys.MOVE), STEPS),
            **PANES,
            "open": "test_enter_opens_and_folds_what_is_inside",
            "past": PAST,
            "forth": PAST,
            "first-event": "test_every_pane_shows_the_past_and_escape_is_the_present",
            "present": PAST,
            "previous": "test_the_inspector_follows_the_cursor_and_its_tabs_the_keys",
            "next": "test_the_inspector_follows_the_cursor_and_its_tabs_the_keys",
            "filter": "test_a_text_is_found_in_the_events_and_escape_ends_the_search",
            "failures": "test_failures_only_can_be_asked_for_and_is_left_by_escape",
            "next-match": "test_n_and_capital_n_go_from_match_to_match",
            "previous-match": "test_n_and_capital_n_go_from_match_to_match",
            "explain": "test_the_explain_pane_opens_and_closes",
            "logs": "test_logs_are_those_of_the_step_then_of_all_then_events_again",
            "difference": "test_a_run_is_compared_with_the_last_good_one",
            "pause-live": "test_a_paused_screen_does_not_move_until_it_goes_on",
            "refresh": "test_the_run_is_looked_at_when_one_asks",
            "zoom": "test_one_key_goes_through_the_zooms",
            "zoom-in": ZOOM,
            "zoom-out": ZOOM,
            "earlier": ZOOM,
            "later": ZOOM,
            "copy": "test_id_and_command_are_copied",
            "copy-command": "test_id_and_command_are_copied",
            "back": "test_escape_leaves_at_last",
            "leave": "test_q_leaves_a_run_at_once",
        },
    ),
    "document": (
        [*keys.MOVE, *keys.DOCUMENT],
        {
            **dict.fromkeys((key.id for key in keys.MOVE), "test_a_document_is_walked_by_its_keys"),
            **dict.fromkeys(("fold", "fold-in", "fold-out"), FOLDS),
            "fold-all": "test_z_opens_everything_and_folds_it_again",
        },
    ),
    "tail": (
        [*keys.MOVE, *keys.TAIL],
        {
            **dict.fromkeys((key.id for key in keys.MOVE), "test_a_pane_of_lines_is_walked_by_its_keys"),
            "follow": "test_the_events_follow_their_end_until_told_not_to",
        },
    ),
    "difference": (
        [*keys.MOVE, *keys.DIFFERENCE],
        {
            **dict.fromkeys((key.id for key in keys.MOVE), "test_a_difference_is_walked_by_its_keys"),
            **dict.fromkeys(("swap", "refresh", "copy", "copy-command"), DIFF),
            **dict.fromkeys(("back", "leave"), "test_a_difference_is_left_by_escape_and_by_q"),
            "failures": "test_a_run_is_compared_with_the_last_good_one",
        },
    ),
}
PLAIN = [key for key in keys.SHELL if key.id in OWN]


@cache
def written() -> dict[str, frozenset[str]]:
    """Return the texts that stand in each test of the dashboard: the keys that it presses are among them."""
    return {
        found.name: frozenset(_texts(found))
        for file in HERE.glob("test_*.py")
        if file.name != Path(__file__).name
        for found in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(found, ast.AsyncFunctionDef) and found.name.startswith("test_")
    }


def _texts(test: ast.AST) -> Iterator[str]:
    for node in ast.walk(test):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def demanded() -> list[tuple[str, Key]]:
    """Return every key on every screen that has it."""
    return [
        (screen, key)
        for screen, (table, _) in ACCOUNT.items()
        for key in [*table, *(PLAIN if screen not in ("everywhere", "document", "tail") else ())]
    ]


@pytest.mark.parametrize(("screen", "key"), demanded(), ids=lambda one: getattr(one, "id", one))
def test_every_key_is_pressed_on_every_screen_that_has_it(screen: str, key: Key) -> None:
    name = ACCOUNT[screen][1].get(key.id)
    assert name is not None, f"no test presses {key.keys} ({key.label}) on {screen}"
    assert name in written(), f"{name}, which is to press {key.keys} on {screen}, does not exist"
    assert set(key.keys.split(",")) & written()[name], f"{name} does not press {key.keys} ({key.label})"


def test_the_account_has_every_key_of_the_table() -> None:
    accounted = {key for _, key in demanded()}
    assert [key for key in keys.EVERY if key not in accounted] == []
