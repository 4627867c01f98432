"""The pass over the source finds what a reader should look at, and the form that a program asks for."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks.kernels
from benchmarks.kernels.advice import advice, form

CHEATS = Path(benchmarks.kernels.__file__).parent / "cheats"


@pytest.mark.parametrize(("line", "said"), [
    ("import ctypes", "imports ctypes: calls into C libraries"),
    ("from concurrent.futures import ThreadPoolExecutor", "imports concurrent.futures: starts threads or processes"),
    ("import gc, os.path", "imports gc: looks at other objects"),
    ("frame = sys._getframe()", "uses _getframe: looks at the stack"),
    ("time.perf_counter = lambda: 0", "assigns time.perf_counter: changes another module"),
    ("stream = torch.cuda.Stream()", "uses Stream: works on another stream"),
    ("try:\n    fast()\nexcept Exception:\n    slow()", "catches exceptions: may fall back to something else"),
    ("def kernel(x, out):\n    global n\n    n += 1", "keeps n between launches"),
    ("def kernel(x, out):\n    out.copy_(torch.softmax(x, -1))", "calls torch.softmax in the hot path"),
])  # fmt: skip
def test_what_a_reader_should_see_is_found(line, said):
    assert any(found.endswith(said) for found in advice(line))


def test_findings_name_their_lines_in_order():
    assert advice("import gc\n\nimport ctypes\n") == [
        "line 1: imports gc: looks at other objects",
        "line 3: imports ctypes: calls into C libraries",
    ]


def test_an_honest_program_has_nothing_to_hide():
    assert advice((CHEATS.parent / "trimul" / "seed" / "harness.py").read_text()) == []


@pytest.mark.parametrize(
    "name", ["forged_done", "late_thread", "busy_child", "garbage_hunt", "replaced_output", "at_exit"]
)
def test_the_crudest_cheats_show_without_being_run(name):
    assert advice((CHEATS / f"{name}.py").read_text())


@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    assert isinstance(advice(text), list)
    assert form(text) in ("fills", "returns")


@pytest.mark.parametrize(("source", "wanted"), [
    ("RETURNS = True\ndef kernel(data): ...", "returns"),
    ("A = RETURNS = True", "returns"),
    ("RETURNS = False", "fills"),
    ("RETURNS = 1", "fills"),
    ("def kernel(x, out):\n    RETURNS = True", "fills"),
    ("def kernel(:", "fills"),
])  # fmt: skip
def test_the_form_is_what_the_top_level_says(source, wanted):
    assert form(source) == wanted
