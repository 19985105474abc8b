"""Published escapes and denials of service of expression engines, and that none of them works here.

From reliability.md 6.1: simpleeval CVE-2026-32640, its generator-frame escape (#138), Jinja's indirect format
(CVE-2024-56326), the sandbox escapes of n8n, and the memory and time bombs that all of them allow.
"""

import pytest

from flowforge.errors import ExpressionError
from flowforge.model.evaluator import Evaluator
from flowforge.model.expression import parse

CONTEXT = {"input": {"x": 1, "s": "a" * 50_000, "rows": list(range(50_000))}, "steps": {}, "run": {"id": "r"}}

ESCAPES = [
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__[1].__subclasses__()",
    "input.__class__",
    "input.__init__.__globals__",
    "input['__class__']",
    "len.__globals__",
    "len.__self__",
    "(x for x in [1]).gi_frame.f_back.f_globals",
    "[g.gi_frame for g in [(x for x in [1])]]",
    "(lambda: 1).__code__",
    "__import__('os').system('id')",
    "__builtins__",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "getattr(input, 'x')",
    "type(input)",
    "vars()",
    "globals()",
    "locals()",
    "print(1)",
    "'{0.__class__}'.format(1)",
    "'{0.__class__}'.format_map(input)",
    "str.format('{0.__class__}', 1)",
    "[str][0].format",
    "['{}'.format][0](1)",
    "constructor.constructor('return process')()",
    "input.constructor",
    "(0).__class__.from_bytes",
    "os.system('id')",
    "input.x.denominator",
    "input.x.real",
    "f'{input.__class__}'",
    "[a := 1]",
    "input.pop('x')",
    "input.update",
    "get(input.__class__, 1).__mro__",
    "steps.__class__",
    "secrets.__class__.x",
    "run.__dict__",
    "[x for x.__class__ in [1]]",
    "[1 for _ in [].__class__.__base__.__subclasses__()]",
    "join.__call__(['a'])",
    "max(input, key=len)",
    "max('a', 'b', default=1)",
    "sum([[1], [2]], [])",
    "{}.__class__.fromkeys",
    "now()",
    "random()",
    "import os",
    "del input",
    "input.x; input.x",
    "yield 1",
    "async",
    "@x",
    "`id`",
    # Python folds identifiers: full-width letters are the same name.
    "().__ｃｌａｓｓ__",
    "ｇｅｔａｔｔｒ(input, 'x')",
    "input.__ｃlass__.__mro__",
    # Modules and frames by way of values, as in CVE-2026-32640 and simpleeval #138.
    "len.__module__",
    "sorted.__self__.__dict__",
    "[x for x in [1]].__class__.__base__.__subclasses__()",
    "[].append.__self__",
    "[*input.values()]",
    "{**input}.__class__",
    "[await x for x in input]",
    "(yield)",
    # What Jinja's sandbox let through: formats and methods taken by another way (CVE-2024-56326, CVE-2025-27516).
    "'{0.__class__.__mro__}'.format",
    "get(input, 'format')('{}')",
    "[s.format for s in ['{0.__class__}']][0](1)",
    "'%(x)s' % input",
    "'%c' % 1114111",
    # What n8n's and other JavaScript sandboxes let through.
    "this.process.mainModule.require('child_process')",
    "[].constructor.constructor('return this')()",
    "input.__proto__",
    "input.__defineGetter__('x', 1)",
    "globalThis",
    # Methods, harmless or not: there are none.
    "'x'.center(100000000)",
    "input.s.zfill(10)",
    "input.rows.append(1)",
    "'a'.encode('utf-16').decode()",
    "int.from_bytes('a', 'big')",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_a_published_escape_is_an_error(source):
    """There is nothing to reach: attributes are keys, calls are listed functions."""
    with pytest.raises(ExpressionError):
        parse(source).evaluate(CONTEXT)


BOMBS = [
    "9 ** 9 ** 9",
    "2 ** 100000",
    "2 ** -100000.5 ** 9",
    "(-1) ** 0.5",
    "10 ** 300 * 10 ** 300",
    "1e308 * 10",
    "1e308 * 10 - 1e308 * 10",
    "99999999 ** 99",
    "int('9' * 5000)",
    "float('nan')",
    "float('inf')",
    "'a' * 1000000000",
    "1000000000 * 'a'",
    "[0] * 1000000000",
    "'a' * 100000 * 100000",
    "('a' * 90000) + ('a' * 90000)",
    "range(1000000000)",
    "range(0, 10**18)",
    "[x for x in range(10000) for y in range(10000)]",
    "[[x for x in range(10000)] for y in range(10000)]",
    "['a' * 100000 for x in range(10000)]",
    "[input.rows + [] for x in range(10000)]",
    "[x in input.rows for x in range(10000)]",
    "[sorted(input.rows) for x in range(10000)]",
    "[sum(input.rows) for x in range(10000)]",
    "[input.rows == input.rows for x in range(10000)]",
    "[replace(input.s, 'a', 'aaaaaaaaaa') for x in range(10000)]",
    "replace(replace(input.s, 'a', 'aa'), 'a', 'aaaa')",
    "replace(input.s, '', input.s)",
    "join([input.s, input.s, input.s], input.s)",
    "[split(input.s, 'a') for x in range(10000)]",
    "[upper(input.s) for x in range(10000)]",
    "[str(input.rows) for x in range(10000)]",
    "[zip(input.rows, input.rows) for x in range(1000)]",
    "'%1000000000d' % 1",
    "round(1.5, 10**9)",
    "1 << 1000000000",
    "'b' in 'a' * 1000000000",
    "'A' * 200000000",
    "[x for x in input.rows for y in input.rows]",
    "sum([len(str(x)) for x in range(10000) for y in range(10000)])",
    "sorted(sorted(sorted(input.rows * 10) * 10) * 10)",
    "join(split(input.s * 1000, 'a'), 'b' * 1000)",
    "max(range(10**9))",
    "10 ** 10 ** 10 % 7",
    "-(2 ** 99999)",
    "abs(-1e308 * 1e308)",
    "round(1e308 * 10)",
    "((((((((((9**9)**9)**9)**9)**9)**9)**9)**9)**9)**9)",
    "not " * 3000 + "x",
    "(" * 3000 + "1" + ")" * 3000,
    "1" + "+1" * 5000,
    "input" + ".x" * 5000,
    "[" * 1000 + "1" + "]" * 1000,
]


@pytest.mark.parametrize("source", BOMBS)
def test_a_bomb_is_refused_before_it_hurts(source):
    """Powers, strings, lists and loops have caps; the budget bounds the rest."""
    with pytest.raises(ExpressionError):
        parse(source).evaluate(CONTEXT)


def test_a_value_that_doubles_with_each_level_is_refused():
    """Sharing makes it small in memory and endless as text."""
    source = "[1, 2]"
    for level in range(24):
        source = f"[[v{level}, v{level}] for v{level} in [{source}]]"
    for wrapped in (source, f"str({source})", f"{source} == {source}", f"sorted([{source}, {source}])"):
        with pytest.raises(ExpressionError):
            parse(wrapped).evaluate(CONTEXT)


def test_the_evaluator_alone_refuses_what_the_check_would_have_refused():
    """The node table is a second wall, should the first ever have a hole."""
    import ast

    for source in ("f'{1}'", "lambda: 1", "{1, 2}", "(x := 1)"):
        body = ast.parse(source, mode="eval").body
        with pytest.raises(Exception, match="may not use"):
            Evaluator().run(body, {})


def test_only_listed_functions_are_callable():
    """The list is short, and holds nothing that acts."""
    names = (
        "len sum min max abs round sorted str int float bool any all lower upper strip split join replace"
        " startswith endswith contains keys values items range zip"
    )
    assert sorted(Evaluator().functions) == sorted(names.split())
