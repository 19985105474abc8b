"""Rails with one row for each node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.model.rails import ascii_only, rows


def drawn(names: str, after: dict[str, str]) -> list[str]:
    """Return the rows of a graph whose nodes are letters."""
    number = {name: no for no, name in enumerate(names)}
    dependencies = {number[name]: [number[one] for one in after.get(name, "")] for name in names}
    return [f"{rail.mark} {names[rail.no]}" for rail in rows(dependencies)]


def test_a_chain_is_one_lane() -> None:
    assert drawn("abc", {"b": "a", "c": "b"}) == ["● a", "● b", "● c"]


def test_a_tree_forks_to_the_right_and_the_last_child_takes_its_parents_place() -> None:
    rails = drawn("vrcfe", {"r": "v", "c": "r", "f": "r", "e": "v"})
    assert rails == ["● v", "├─● r", "│ ├─● c", "│ ● f", "● e"]


def test_lanes_join_where_a_node_waits_for_several() -> None:
    assert drawn("abcd", {"b": "a", "c": "a", "d": "bc"}) == ["● a", "├─● b", "● │ c", "●─╯ d"]


def test_lines_to_a_node_pass_lanes_that_have_nothing_to_do_with_it() -> None:
    rails = drawn("abcdefgh", {"c": "ab", "d": "c", "e": "c", "f": "de", "g": "a", "h": "fg"})
    assert rails == ["● a", "├─● g", "│ │ ● b", "●─│─╯ c", "├─│─● d", "● │ │ e", "●─│─╯ f", "●─╯ h"]


def test_nodes_that_have_nothing_to_do_with_each_other_do_not_stand_in_line() -> None:
    assert drawn("abc", {"c": "b"}) == ["● a", "  ● b", "  ● c"]


def test_what_belongs_to_a_node_stands_beside_the_lanes_below_it() -> None:
    below = [rail.below for rail in rows({0: [], 1: [0], 2: [0], 3: [1, 2]})]
    assert below == ["│", "│ │", "│ │", ""]


def test_a_graph_that_is_too_wide_is_listed() -> None:
    wide = {0: [], **{no: [0] for no in range(1, 40)}, 40: list(range(1, 40))}
    assert {rail.mark for rail in rows(wide, most=8)} == {"●"}


def test_rails_have_a_spelling_without_line_characters() -> None:
    assert ascii_only("├─│─● ┴ ╯").isascii()


@given(st.data(), st.integers(1, 12))
def test_every_node_has_one_row_after_all_it_waits_for(data: st.DataObject, size: int) -> None:
    earlier = {no: st.lists(st.integers(0, no - 1), max_size=3) if no else st.just([]) for no in range(size)}
    graph = {no: data.draw(choice) for no, choice in earlier.items()}
    made = rows(graph)
    place = {rail.no: at for at, rail in enumerate(made)}
    assert sorted(place) == list(range(size))
    assert all(place[source] < place[no] for no, sources in graph.items() for source in sources)
    assert all(rail.mark.count("●") == 1 for rail in made)


@pytest.mark.parametrize("size", [2_000])
def test_long_graphs_are_drawn_in_linear_time(size: int) -> None:
    assert len(rows({no: [no - 1] if no else [] for no in range(size)})) == size
