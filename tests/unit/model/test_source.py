"""Definition texts as data and positions."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowforge.errors import DefinitionError
from flowforge.model import source
from flowforge.model.diagnostics import Diagnostic


def refused(text, filename="flow.yaml"):
    """Return the one finding that stops the reading of *text*."""
    with pytest.raises(DefinitionError) as caught:
        source.parse(text, filename=filename)
    (finding,) = caught.value.diagnostics
    return finding


def findings(text, filename="flow.yaml"):
    """Return code, line and column of what is wrong with a text that can be read."""
    return [(finding.code, finding.line, finding.column) for finding in source.parse(text, filename=filename).findings]


def place(text, path, filename="flow.yaml", **where):
    """Return line, column and length of a path."""
    found = source.parse(text, filename=filename).locate(Diagnostic("FF009", "", path=path, **where))
    return found.line, found.column, found.length


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "FF006", 1, 1),
        ("# nothing\n", "FF006", 1, 1),
        ("a: [1", "FF001", 1, 6),
        ("a: b: c", "FF001", 1, 5),
        ("name: abc\n\tsteps: 1", "FF001", 2, 1),
        ("a: 1\n---\nb: 2", "FF004", 2, 1),
        ("a: *x", "FF004", 1, 4),
        ("a: &a [*a]", "FF004", 1, 8),
        ("a: \0", "FF005", 1, 4),
        ("a: \ud800", "FF005", 1, 4),
        ('a: "\x01"', "FF001", 1, 5),
        (b"a: \xff", "FF001", 1, 4),
        ("{" * 60, "FF002", 1, 51),
        ("\n".join(" " * depth + "- " for depth in range(60)), "FF002", 51, 51),
        ("a" * 1_100_000, "FF002", 1, 1),
        (b"a" * 1_100_000, "FF002", 1, 1),
        ("é" * 600_000, "FF002", 1, 1),
    ],
)
def test_an_unreadable_yaml_text_is_one_finding_with_its_place(text, code, line, column):
    """What cannot be read on from is refused where it stands."""
    finding = refused(text)
    assert (finding.code, finding.line, finding.column) == (code, line, column)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\na: 2\nb: {c: 1, c: 2}", [("FF003", 2, 1), ("FF003", 3, 11)]),
        ("a: !!python/object:os.system x", [("FF004", 1, 4)]),
        ("a: !custom {b: 1}", [("FF004", 1, 4)]),
        ("1: 2", [("FF005", 1, 1)]),
        ("null: 2", [("FF005", 1, 1)]),
        ("? [a]\n: b", [("FF005", 1, 3)]),
        ("a: .nan\nb: -.inf\nc: 1e999", [("FF005", 1, 4), ("FF005", 2, 4), ("FF005", 3, 4)]),
        ("a: " + "9" * 400, [("FF005", 1, 4)]),
        ("b: &b {c: 1}\na: {<<: *b}", [("FF004", 2, 5)]),
    ],
)
def test_what_is_not_plain_json_in_yaml_is_found_everywhere(text, found):
    """Reading goes on after such a finding, so that all are told at once."""
    assert findings(text) == found


def test_yaml_scalars_follow_version_1_2():
    """No, on, dates and leading zeros are what they look like; JSON's words are its values."""
    text = (
        "[no, on, 2024-01-01, 012, 0x1f, 0o17, 1_000, true, FALSE, ~, null, '', 1.5, .5, 1e3, +1, '1', !!str 1, 1:30]"
    )
    expected = ["no", "on", "2024-01-01", 12, 31, 15, "1_000", True, False, None, None, "", 1.5, 0.5, 1000.0, 1]
    assert source.parse(f"a: {text}").data["a"] == [*expected, "1", "1", "1:30"]


def test_unquoted_true_and_false_may_be_keys():
    """Branches are called so, and nobody quotes them."""
    assert source.parse("{true: 1, False: 2}", filename="a.yaml").data == {"true": 1, "false": 2}


def test_a_few_aliases_are_welcome():
    """An anchor for shared headers is good style."""
    assert source.parse("a: &h {x: 1}\nb: *h\nc: *h").data == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}}


def test_an_alias_bomb_is_refused_before_it_costs_anything():
    """The weight of what aliases repeat is bounded, not only their number."""
    levels = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"a{no}: &a{no} [{', '.join([f'*a{no - 1}'] * 9)}]" for no in range(1, 9)]
    finding = refused("\n".join(levels))
    assert finding.code == "FF004"
    assert "alias" in finding.message


def test_many_aliases_of_small_values_are_refused_too():
    """The number is bounded as well."""
    assert refused("a: &a 1\nb: [" + ", ".join(["*a"] * 51) + "]").code == "FF004"


def test_an_alias_cannot_nest_deeper_than_text_may():
    """Depth counts through aliases."""
    deep = "a: &a " + "[" * 30 + "]" * 30
    assert refused(f"{deep}\nb: " + "[" * 30 + "*a" + "]" * 30).code == "FF002"


def test_positions_of_keys_and_values_in_yaml():
    """A value is underlined as it is written, quotes included; a container by its first key."""
    text = "name: x\nsteps:\n  - id: 'a'\n    depends_on: [b, cc]\n"
    assert place(text, ("steps", 0, "id")) == (3, 9, 3)
    assert place(text, ("steps", 0, "depends_on", 1)) == (4, 21, 2)
    assert place(text, ("steps", 0, "depends_on"), at_key=True) == (4, 5, 10)
    assert place(text, ("steps", 0)) == (3, 5, 2)
    assert place(text, ("steps", 0, "missing", "deeper")) == (3, 5, 2)


def test_positions_in_json():
    """JSON has the same positions, from a scan that only happens when somebody asks."""
    text = '{"name": "x",\r\n "steps": [{"id": "\\u0061", "n": [1, 22]}]}'
    assert place(text, ("steps", 0, "id"), "a.json") == (2, 19, 8)
    assert place(text, ("steps", 0, "n", 1), "a.json") == (2, 38, 2)
    assert place(text, ("steps", 0, "n"), "a.json", at_key=True) == (2, 29, 3)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("a: hello wrong", "wrong", (1, 10)),
        ("a: 'hello wrong'", "wrong", (1, 11)),
        ("a: |\n  one\n    two wrong\n", "wrong", (3, 9)),
        ("a: >\n  one\n  two wrong\n", "wrong", (3, 7)),
        ('a: "tab\\t wrong"', "wrong", (1, 11)),
    ],
)
def test_an_offset_inside_a_text_maps_to_the_file(text, value, expected):
    """Quotes, blocks, folds and escapes lie between a value and its spelling."""
    offset = source.parse(text).data["a"].index(value)
    assert place(text, ("a",), inside=(offset, len(value)))[:2] == expected


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('{"a": 1,}', 1, 9, "no comma"),
        ("{'a': 1}", 1, 2, "double quotes"),
        ('{"a" 1}', 1, 6, None),
        ('{"a": 1}\n{"b": 2}', 2, 1, None),
        ('{"a": 1, // why\n"b": 2}', 1, 10, "no comments"),
        ("[", 1, 2, None),
    ],
)
def test_json_syntax_errors_speak_of_json(text, line, column, words):
    """The standard library's words and place, with advice for the commonest mistakes."""
    finding = refused(text, "flow.json")
    assert (finding.code, finding.line, finding.column) == ("FF001", line, column)
    assert "JSON" in finding.message
    assert words is None or words in (finding.help or "")


def test_json_oddities_are_found_everywhere():
    """What json.loads lets pass is not JSON."""
    text = '{"a": NaN, "a": 1, "b": 1e999, "c": "\\ud800", "d": "\\u0000", "e": ' + "9" * 400 + "}"
    codes = [code for code, _, _ in findings(text, "flow.json")]
    assert sorted(codes) == ["FF003"] + ["FF005"] * 5


def test_text_that_looks_like_json_is_told_about_json_without_a_name():
    """A request body has no file name; quotes after the brace tell what was meant."""
    assert "JSON" in refused('{"a": 1 "b": 2}', "<definition>").message
    assert source.parse("{a: 1}").data == {"a": 1}


def test_a_byte_order_mark_is_not_content():
    """Some editors write one."""
    assert source.parse("\ufeffa: 1").data == {"a": 1}
    assert source.parse(b'\xef\xbb\xbf{"a": 1}', filename="a.json").data == {"a": 1}


def test_a_large_json_definition_is_read():
    """A megabyte of valid JSON is within the limits."""
    text = json.dumps({"steps": [{"id": f"s{no}", "config": {"x": "y" * 60}} for no in range(9_500)]})
    assert len(source.parse(text, filename="a.json").data["steps"]) == 9_500


def test_deep_brackets_inside_json_text_do_not_count():
    """Only nesting is depth."""
    assert source.parse('{"a": "' + "[" * 100 + '"}').data == {"a": "[" * 100}


YAML_PIECES = st.sampled_from(
    ["a: ", "b:\n", "- ", "  ", "{", "}", "[", "]", "&a ", "*a", "!!str ", "!x ", "'", '"', "\n", "|\n", ">-\n", "? ",
     ": ", "# c\n", "---\n", "...\n", "%YAML 1.2\n", "1", "~", "<<", "\t", "x", ",", "\\", "é", "\x85", "\u2028", "@"]
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(YAML_PIECES, max_size=30).map("".join) | st.text(max_size=80))
def test_no_text_breaks_the_reader(text):
    """Random text is data or a DefinitionError with a place, and data is always storable JSON."""
    for filename in ("a.yaml", "a.json"):
        try:
            parsed = source.parse(text, filename=filename)
        except DefinitionError as error:
            placed = [finding.line and finding.column for finding in error.diagnostics]
        else:
            placed = [finding.line and finding.column for finding in parsed.findings]
            json.dumps(parsed.data, allow_nan=False)
        assert all(placed)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(data):
    """Bytes are decoded strictly."""
    with suppress(DefinitionError):
        source.parse(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=80)
@given(JSON.map(lambda value: {"a": value}))
def test_json_means_the_same_however_it_is_read(value):
    """Valid JSON comes back unchanged, and every place in it is found."""
    text = json.dumps(value)
    if "\\u0000" in text or "\\ud" in text:
        return
    parsed = source.parse(text, filename="a.json")
    assert parsed.data == value
    assert parsed.locate(Diagnostic("FF009", "", path=("a",))).column in (7, 8)
