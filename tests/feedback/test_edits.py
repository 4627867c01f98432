"""Edits change what they name and nothing else."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.edits import (
    EditError,
    add_import,
    constant,
    function_source,
    insert_before_function,
    replace_function,
    set_constant,
)

PROGRAM = '''"""A program."""

import math

RATE = 1  # keep me


@staticmethod
def first(x):
    return x


def second(x):
    # a comment
    return first(x) * RATE
'''

LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=5,
)


@given(LITERALS)
def test_a_constant_reads_back_as_it_was_set(value: object) -> None:
    edited = set_constant(PROGRAM, "RATE", value)
    assert constant(edited, "RATE") == value
    assert function_source(edited, "second") == function_source(PROGRAM, "second")


def test_a_function_is_replaced_with_its_decorators_and_the_rest_stays() -> None:
    edited = replace_function(PROGRAM, "first", "def first(x):\n    return -x")
    assert "staticmethod" not in edited
    assert edited.endswith(PROGRAM[PROGRAM.index("def second") :])
    assert edited.startswith(PROGRAM[: PROGRAM.index("@staticmethod")])


def test_insertion_and_imports_keep_the_program_whole() -> None:
    edited = insert_before_function(add_import(PROGRAM, "import os"), "second", "def between():\n    return 0")
    assert [n.name for n in ast.parse(edited).body if isinstance(n, ast.FunctionDef)] == ["first", "between", "second"]
    assert edited.index("import math") < edited.index("import os") < edited.index("RATE")
    assert add_import(edited, "import os") == edited


@pytest.mark.parametrize(
    "edit",
    [
        lambda: replace_function(PROGRAM, "third", "def third(): pass"),
        lambda: set_constant(PROGRAM, "NONE", 1),
        lambda: replace_function("def broken(:", "broken", ""),
        lambda: constant("X = f()", "X"),
    ],
)
def test_an_edit_that_does_not_fit_says_so(edit: object) -> None:
    with pytest.raises(EditError):
        edit()  # type: ignore[operator]
