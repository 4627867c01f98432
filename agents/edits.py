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
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last: nested too deep
        raise EditError(f"program does not parse: {error or type(error).__name__}") from error


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


def numeric_constants(source: str) -> dict[str, int | float]:
    """Top-level constants in capitals whose value is one number, in the order in which they stand."""
    found: dict[str, int | float] = {}
    for node in _parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) if name.isupper():
                try:
                    value = ast.literal_eval(node.value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    continue
                if type(value) in (int, float):
                    found[name] = value
    return found


SEARCH, DIVIDER, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
MAX_ANSWER_BYTES = 64 * 1024
"""Of a language model's answer that is read as an edit."""
MAX_BLOCKS = 16


def search_and_replace(source: str, answer: str) -> str:
    """Apply the blocks of a model's answer to the program, one after another; text around them is left aside.

        <<<<<<< SEARCH
        whole lines that stand in the program exactly once
        =======
        the lines that take their place (none: they are deleted)
        >>>>>>> REPLACE

    Nothing is guessed: other indentation, a place that is there twice, or an open block is an EditError, and so are an
    answer that changes nothing and a result that is no Python.
    """
    lines = source.split("\n")
    for searched, replacement in _blocks(answer):
        size = len(searched)
        places = [i for i in range(len(lines) - size + 1) if lines[i : i + size] == searched]
        if len(places) != 1:
            raise EditError(f"the lines to replace stand in the program {len(places)} times, not once")
        lines[places[0] : places[0] + size] = replacement
    return _changed(source, "\n".join(lines))


def _blocks(answer: str) -> list[tuple[list[str], list[str]]]:
    """(searched, replacement) lines of each block."""
    found: list[tuple[list[str], list[str]]] = []
    part: list[str] | None = None  # the lines that are being collected: none outside a block
    for line in _bounded(answer).split("\n"):
        match line.rstrip():
            case mark if mark == SEARCH:
                if part is not None:
                    raise EditError("a block begins inside another")
                found.append(([], []))
                part = found[-1][0]
            case mark if mark == DIVIDER and part is not None:
                if part is not found[-1][0]:
                    raise EditError("a block has two dividers")
                part = found[-1][1]
            case mark if mark == REPLACE:
                if part is None or part is not found[-1][1]:
                    raise EditError("a block ends that has not begun, or has no divider")
                part = None
            case _:
                if part is not None:
                    part.append(line)
    if part is not None:
        raise EditError("the last block has no end")
    if not 1 <= len(found) <= MAX_BLOCKS:
        raise EditError(f"{len(found)} blocks; an answer has 1 to {MAX_BLOCKS}")
    if any(not any(line.strip() for line in searched) for searched, _ in found):
        raise EditError("a block searches for nothing")
    return found


def whole_program(source: str, answer: str) -> str:
    """The program in the one fenced block (three backticks) of a model's answer. Raises EditError as above."""
    lines = _bounded(answer).split("\n")
    fences = [i for i, line in enumerate(lines) if line.startswith("```")]
    if len(fences) != 2 or lines[fences[1]].rstrip() != "```" or lines[fences[0]].rstrip() not in ("```", "```python"):
        raise EditError("an answer has exactly one block of code, fenced by ```python and ```")
    return _changed(source, "\n".join(lines[fences[0] + 1 : fences[1]]) + "\n")


def _bounded(answer: str) -> str:
    if len(answer.encode("utf-8", "replace")) > MAX_ANSWER_BYTES:
        raise EditError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return answer.replace("\r\n", "\n")


def _changed(source: str, text: str) -> str:
    if text == source:
        raise EditError("the answer changes nothing")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EditError("the program is no text") from error
    _parse(text)
    return text
