"""Edits to a program's text: the only ways in which the loop changes a harness.

Each takes source and gives new source, keeping everything it does not touch to the letter. The text is parsed, never
executed. All raise EditError when the place to edit is not there.
"""

from __future__ import annotations

import ast


class EditError(ValueError):
    """The edit does not fit this program."""


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise EditError(f"program does not parse: {error}") from error


def _splice(source: str, node: ast.stmt, text: str) -> str:
    lines = source.splitlines(keepends=True)
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "".join([*lines[: first - 1], text.rstrip("\n") + "\n", *lines[(node.end_lineno or first) :]])


def _function(source: str, name: str) -> ast.FunctionDef:
    for node in _parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise EditError(f"program has no function {name}()")


def has_function(source: str, name: str) -> bool:
    """True when a top-level function of that name exists."""
    return any(isinstance(n, ast.FunctionDef) and n.name == name for n in _parse(source).body)


def function_source(source: str, name: str) -> str:
    """The text of a top-level function."""
    return ast.get_source_segment(source, _function(source, name)) or ""


def replace_function(source: str, name: str, text: str) -> str:
    """Put `text` in the place of the top-level function `name`."""
    return _splice(source, _function(source, name), text)


def insert_before_function(source: str, name: str, text: str) -> str:
    """Put `text` (a helper function) before the top-level function `name`."""
    node = _function(source, name)
    lines = source.splitlines(keepends=True)
    return "".join([*lines[: node.lineno - 1], text.strip("\n") + "\n\n\n", *lines[node.lineno - 1 :]])


def _constant(source: str, name: str) -> ast.Assign:
    for node in _parse(source).body:
        if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == [name]:
            return node
    raise EditError(f"program has no constant {name}")


def constant(source: str, name: str) -> object:
    """The literal value of the top-level constant `name`."""
    try:
        return ast.literal_eval(_constant(source, name).value)
    except ValueError as error:
        raise EditError(f"{name} is not a literal") from error


def has_constant(source: str, name: str) -> bool:
    """True when a top-level constant of that name exists."""
    try:
        _constant(source, name)
    except EditError:
        return False
    return True


def set_constant(source: str, name: str, value: object) -> str:
    """Give the top-level constant `name` another literal value."""
    return _splice(source, _constant(source, name), f"{name} = {value!r}")


def add_import(source: str, statement: str) -> str:
    """Add an import after the last top-level import, unless it is there."""
    tree = _parse(source)
    wanted = ast.dump(ast.parse(statement).body[0])
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    if any(ast.dump(n) == wanted for n in imports):
        return source
    lines = source.splitlines(keepends=True)
    if imports:
        at = imports[-1].end_lineno or 0
    else:
        doc = tree.body[0] if tree.body and ast.get_docstring(tree) is not None else None
        at = (doc.end_lineno or 0) if doc else 0
    return "".join([*lines[:at], statement + "\n", *lines[at:]])
