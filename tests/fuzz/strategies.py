"""What is fed in: documents that are nearly right, grammar gone wrong, and plain noise."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

from hypothesis import strategies as st

from tests.chaos.kit.load import SHAPES

#: Definitions that are right, to be made wrong.
RIGHT = [
    *(
        f"name: {name}\n{dedent(text).replace('@queue', 'default').replace('@sink', 'http://x').lstrip()}"
        for name, text in SHAPES.items()
    ),
    """{"name": "json", "steps": [{"id": "a", "type": "transform", "config": {"expression": "1"}}]}""",
    """
name: all
description: "everything"
input_schema: {type: object, required: [n], properties: {n: {type: integer}}}
concurrency: {limit: 3, key: "{{ input.n }}", on_limit: reject}
timeout: 30s
error_handling: {on_error: continue}
output: "{{ steps.a.output }}"
steps:
  - id: a
    type: http
    timeout: 5000
    retry: {max_retries: 2}
    config: {url: "http://x/{{ input.n }}", body: {k: "${{ input }}"}}
  - {id: b, type: delay, depends_on: a, join: any, config: {duration: 1m}}
  - id: c
    type: conditional
    depends_on: [a]
    config: {branches: [{when: "input.n > 1", target_step: d}, {when: "True", target_step: b}]}
  - {id: d, type: python, config: {function: "m:f", args: [1, "{{ steps.a.output.body }}"]}}
""",
]


def _words(text: str) -> list[str]:
    return text.split()


YAML_WORDS = [
    *_words("""
    : - { } [ ] , & * ! | > ' " # ? &a *a !!python/object:os.system <<: ... --- null ~ .nan 0x1f 1e999 -0 2026-01-01
    id type steps depends_on config retry timeout name queue join output http python transform parallel conditional
    delay agent workflow 99999999999999999999
    """),
    *("\n", "\n  ", "\t", "\0", "\ufeff", "\x85", '"{{ 9**9**9 }}"', "\"{{ __import__('os') }}\"", "{{", "}}", "${{"),
]
EXPRESSION_WORDS = [
    *_words(r"""
    input steps run item secrets .x .rows .output ["x"] [0] [-1] [:2] ( ) [ ] { } : , + - * / // % ** == != < > <= >=
    and or not in is if else for None True False 0 1 -1 9 1e308 10**300 0.1 "a" 'b' "\u0000" "{0}" f"{x}" len sum min
    max abs round sorted str int float bool any all lower upper split join replace range zip get keys values items
    lambda yield await := ... __class__ __import__ \ # @ ` $ ~ ^ | & <<
    """),
    " ",
    "\n",
]
VERBS = _words("""
    run ps show events logs watch wait cancel retry workflow init worker db up down status config version completion
    lint publish ls archive graph schema start drain upgrade downgrade --help -h --version
""")
OPTIONS = _words("""
    --json --debug --no-input --profile --yes -y --wait --watch --detach --timeout --input --set -i --label -l
    --priority --idempotency-key --status --workflow --since --until --limit --query --reason --from --sql --all -a
    --plain --processes -p --concurrency -c --queue -q --grace --draft --follow --seed -- - = --nothing --json=1 -iii
""")
VALUES = [
    *_words(r"""
    @last @last-failed @ @nofile @/dev/null @/dev/zero 0 -1 1 99999999999999999999 1e9 nan 5m 1d2h 0s 10y -5s a=1 = a=
    a.b.c=[1] .=1 a..b=2 {} [] {"a":1} {"a" null "x" x@1 x@0 x@999999999999 x@ @1 flow.yaml ./ ../.. /etc/passwd ümlaut
    running,failed 2026-01-01T00:00:00Z 2026-13-45 default %s {0} $(id) ; ' " \ hello.yaml bad.yaml hello.yaml bad.yaml
    """),
    *("", " ", "\x1b[31m", "\ud800", "\U0001f600", "a" * 5000, "a." * 3000 + "b=1", "[" * 3000),
]

TEXT = st.text(st.characters(codec=None), max_size=60)


@st.composite
def mutated(draw: st.DrawFn, originals: list[str], words: list[str]) -> str:
    """Take something right and cut, repeat, swap and insert in it."""
    text = draw(st.sampled_from(originals))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3, 6]))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        piece = draw(st.one_of(st.sampled_from(words), TEXT, st.just(text[start:end] * draw(st.integers(0, 3)))))
        text = text[:start] + piece + text[end:]
    return text


definitions = st.one_of(
    mutated(RIGHT, YAML_WORDS),
    mutated(RIGHT, YAML_WORDS),
    st.lists(st.sampled_from(YAML_WORDS), max_size=40).map(" ".join),
    TEXT,
)
#: Expressions that parse, mostly, of values that fit each other, sometimes.
_atoms = st.sampled_from(
    ["1", "0", "2.5", "'a'", "True", "None", "input.x", "input.s", "input.rows", "input.rows[0].price", "item", "input"]
)
_binary = st.sampled_from([*("+", "-", "*", "/", "//", "%", "**", "==", "<", ">=", "and", "or", "in", "not in", "is")])
_functions = st.sampled_from(
    _words("len sum min max abs round sorted str int float bool any all upper keys values zip range")
)
grown = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, _binary, inner),
        st.builds("{}({})".format, _functions, inner),
        st.builds("{}({}, {})".format, _functions, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("[{} for item in {} if {}]".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{'k': {}}}".format, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("get({}, {})".format, inner, inner),
    ),
    max_leaves=10,
)
expressions = st.one_of(
    grown,
    st.lists(st.sampled_from(EXPRESSION_WORDS), max_size=14).map(" ".join),
    mutated(
        ["sum([i.price * i.qty for i in input.rows])", "input.x * 1.2 > 1000 and steps.a.output.status_code == 200"],
        EXPRESSION_WORDS,
    ),
    TEXT,
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
schemas = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["object", "array", "string", "integer", "number", "null", "boolean"]),
        "required": st.lists(st.sampled_from(["x", "y", ""]), max_size=2),
        "properties": st.dictionaries(st.sampled_from(["x", "y"]), st.just({"type": "integer"}), max_size=2),
        "enum": st.lists(json_values, min_size=1, max_size=3),
        "minimum": st.integers(-3, 3),
        "maxLength": st.integers(0, 3),
        "items": st.just({"type": "string"}),
        "additionalProperties": st.booleans(),
    },
)
names = st.sampled_from(["v", "run", "step", "dispatch_no", "traceparent", "", "x"]) | TEXT
fields = st.dictionaries(names, st.binary(max_size=40), max_size=8) | st.builds(
    lambda base, more: {**base, **more},
    st.just({"v": b"1", "run": b"0" * 32, "step": b"0", "dispatch_no": b"1"}),
    st.dictionaries(names, st.binary(max_size=12) | st.integers().map(lambda n: str(n).encode()), max_size=2),
)
#: A command line cannot hold NUL.
words = st.sampled_from(OPTIONS + VALUES + VERBS) | TEXT.map(lambda text: text.replace("\0", ""))
values = st.sampled_from(VALUES)
#: Command lines that mean something.
MEANT = [
    _words(line)
    for line in (
        "run hello.yaml -i a=1 --input {} --label k=v --priority 3 --idempotency-key K --wait --timeout 5m --json",
        "run hello@1 --input @hello.yaml --detach",
        "run bad.yaml --watch --timeout 10s",
        "ps --status running,failed --workflow hello --label k=v --since 1h --until 2026-01-01 --limit 5 --json",
        "show @last --json",
        "events 0199 --json",
        "logs @last-failed step",
        "watch 0199abcd --plain",
        "wait 0199 0200 --timeout 5s",
        "wait - --json",
        "cancel 0199 --reason because --yes",
        "retry 0199 --from a --reason because",
        "workflow lint hello.yaml --json",
        "workflow lint bad.yaml",
        "workflow publish hello.yaml --draft",
        "workflow show hello@1 --json",
        "workflow archive hello --yes",
        "workflow graph hello.yaml",
        "workflow schema",
        "worker start --processes 2 --concurrency 3 --queue q --grace 5s",
        "worker ls --json --all",
        "worker drain --all",
        "db status --json",
        "db upgrade --sql",
        "db downgrade base --yes",
        "status --json",
        "config show --json",
        "completion bash",
        "init",
        "version --json",
    )
]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Take a command line that means something, and leave out, replace and add words."""
    line = list(draw(st.sampled_from(MEANT)))
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        place = draw(st.integers(1, len(line)))
        how = draw(st.sampled_from(["add", "replace", "leave out"]))
        new = [] if how == "leave out" else [draw(words)]
        line[place : place + (how != "add")] = new
    return line


commands = command_lines() | st.builds(
    lambda verb, rest: [*verb, *rest], st.lists(st.sampled_from(VERBS), max_size=2), st.lists(words, max_size=5)
)
