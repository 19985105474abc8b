"""Queues and workers as lines: what waits, who works, and who has fallen silent."""

from __future__ import annotations

from dataclasses import replace

from flowforge_tui.queues.lines import queue_cells, worker_cells, worker_details
from tests.support.lines import words
from tests.support.overviews import NOW, SECOND, run_id, transport

QUEUE = transport().queues[1]
ALIVE, LOST = transport().workers


def test_what_waits_to_be_published_is_part_of_the_backlog():
    assert words(queue_cells(replace(QUEUE, backlog=3, unpublished=90), (None, None)))[2] == "93"
    assert words(queue_cells(replace(QUEUE, backlog=None, unpublished=90), (None, None)))[2] == "?"


def test_a_worker_with_many_steps_names_the_oldest_and_counts_the_others():
    busy = replace(ALIVE, held=ALIVE.held * 5)
    assert words(worker_cells(busy, NOW))[3] == "transform[7] +4"
    assert words(worker_cells(ALIVE, NOW))[3] == "transform[7]"


def test_a_worker_that_says_nothing_is_silent_before_it_is_lost():
    assert words(worker_cells(ALIVE, NOW))[1] == "● BUSY"
    assert words(worker_cells(ALIVE, NOW + 20 * SECOND))[1] == "◌ SILENT"
    assert words(worker_cells(replace(ALIVE, status="draining"), NOW + 20 * SECOND))[1] == "◌ SILENT"
    assert words(worker_cells(LOST, NOW + 20 * SECOND))[1] == "✗ LOST"


def test_of_a_lost_worker_it_is_said_when_it_was_seen_and_what_it_left():
    assert "up 1m30s" in words(worker_details(ALIVE, NOW)[0])[1]
    about, left = worker_details(LOST, NOW)
    assert "last seen 41.0s ago" in words(about)[1]
    assert words(left)[1] == "lease ended 11.0s ago"
    assert LOST.held[0].run == run_id(40)
