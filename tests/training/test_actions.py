"""Action spaces: strict parsers, a menu that is always valid, and the probabilities that a trainer is told."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.edits import EditError, numeric_constants, search_and_replace, whole_program
from agents.models.smollm2 import model_folder
from agents.models.torch_local import LocalModel
from agents.models.torch_policy import TorchPolicy
from benchmarks.registry import task
from feedback.moves import moves_for
from training.actions import Choice, Edit, Place, Written, menu, parameters_of, space, space_for

SOURCE = "import math\n\nA = 1\nB = 0.5\n\n\ndef f(x):\n    return A * x\n\n\ndef g(x):\n    return x\n"


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def test_blocks_apply_in_order_and_text_around_them_is_left_aside() -> None:
    answer = "First:\n" + block("A = 1", "A = 2\nC = 3") + "then\n" + block("C = 3", "C = 4")
    assert search_and_replace(SOURCE, answer) == SOURCE.replace("A = 1", "A = 2\nC = 4")
    deleted = search_and_replace(SOURCE, "<<<<<<< SEARCH\nB = 0.5\n=======\n>>>>>>> REPLACE")
    assert deleted == SOURCE.replace("B = 0.5\n", "")
    assert search_and_replace(SOURCE, block("A = 1", "A = 9").replace("\n", "\r\n")) == SOURCE.replace("A = 1", "A = 9")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "0 blocks"),
        ("A = 2", "0 blocks"),
        (block("A = 1", "A = 1"), "changes nothing"),
        (block("A = 7", "A = 1"), "0 times"),
        (block("", "A = 1"), "searches for nothing"),
        (block(" A = 1", "A = 2"), "0 times"),
        (block("A =", "B ="), "0 times"),
        (block("A = 1", "A = ("), "does not parse"),
        (block("A = 1", "A = 2").removesuffix(">>>>>>> REPLACE\n"), "no end"),
        ("<<<<<<< SEARCH\nA = 1\n>>>>>>> REPLACE", "no divider"),
        ("<<<<<<< SEARCH\n<<<<<<< SEARCH\nA = 1\n=======\n>>>>>>> REPLACE", "inside another"),
        ("<<<<<<< SEARCH\nA = 1\n=======\n=======\n>>>>>>> REPLACE", "two dividers"),
        (block("A = 1", "A = 2") * 17, "17 blocks"),
        (block("A = 1", "A = 2" + "#" * 70_000), "larger"),
        (block("A = 1", "A = '\ud800'"), "no text"),
    ],
)
def test_a_malformed_diff_is_refused_with_the_reason(answer: str, why: str) -> None:
    with pytest.raises(EditError, match=why):
        search_and_replace(SOURCE, answer)


def test_lines_that_stand_twice_are_no_place() -> None:
    with pytest.raises(EditError, match="2 times"):
        search_and_replace("x = 1\ny = 2\nx = 1\n", block("x = 1", "x = 3"))


@settings(deadline=None)
@given(st.data())
def test_any_run_of_lines_can_be_replaced(data: st.DataObject) -> None:
    lines = [f"v{i} = {i}" for i in range(data.draw(st.integers(1, 12)))]
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first + 1, len(lines)))
    new = data.draw(st.lists(st.integers(0, 9).map("w = {}".format), min_size=1, max_size=4))
    found = search_and_replace("\n".join(lines), block("\n".join(lines[first:last]), "\n".join(new)))
    assert found.split("\n") == lines[:first] + new + lines[last:]


PIECES = [
    "<<<<<<< SEARCH\n",
    "=======\n",
    ">>>>>>> REPLACE\n",
    "A = 1\n",
    "```python\n",
    "```\n",
    "x",
    "\n",
    "\x00",
    "é\r\n",
]


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_whatever_a_model_writes_is_a_program_or_an_edit_error(answer: str) -> None:
    for parse in (search_and_replace, whole_program):
        try:
            made = parse(SOURCE, answer)
        except EditError:
            continue
        assert made != SOURCE
        ast.parse(made)


def test_a_whole_program_stands_in_the_one_fenced_block() -> None:
    assert whole_program(SOURCE, "Here:\n```python\nx = 1\n```\nDone.") == "x = 1\n"
    for answer in ("x = 1", "```python\nx = 1", "```\na=1\n```\n```\nb=1\n```", "```rust\nx\n```", f"```\n{SOURCE}```"):
        with pytest.raises(EditError):
            whole_program(SOURCE, answer)


def edits(name: str) -> list[Edit]:
    return [Edit(m.name, m.why, m.edit) for m in moves_for(name)]


@pytest.mark.parametrize("name", ["denoising", "lawbench", "trimul"])
def test_every_option_of_a_menu_is_another_program_that_parses(name: str) -> None:
    source = task(name).seed().source
    options = menu(source, edits(name))
    assert len(options) > 5
    assert len({source, *options.values()}) == len(options) + 1
    for text, program in options.items():
        ast.parse(program)
        if " = " in text:
            constant, value = text.split(" = ")
            assert numeric_constants(program)[constant] == ast.literal_eval(value)
    prompt = Choice(task(name), edits(name)).prompt(Place(source, ("two_options",)))
    assert "two_options" in prompt and all(edit.name in prompt for edit in edits(name) if edit.name in options)


def test_numeric_constants_are_numbers_in_capitals() -> None:
    source = "A = 1\nB = -0.5\nC = True\nD = 'x'\ne = 3\nF = (1, 2)\nG = A + 1\n\ndef f():\n    H = 1\n"
    assert numeric_constants(source) == {"A": 1, "B": -0.5}


def test_the_space_goes_by_the_size_of_the_model(tiny: Path) -> None:
    assert [space_for(n) for n in (135_000_000, 7_000_000_000, 70_000_000_000)] == ["choice", "diff", "program"]
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(tiny)
    assert parameters_of(tiny) == sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module")
def policy() -> TorchPolicy:
    return TorchPolicy(LocalModel(model_folder(print), dtype=torch.float32))


@pytest.mark.model
def test_the_small_model_always_acts_validly_and_tells_the_true_probabilities(policy: TorchPolicy) -> None:
    found = Choice(task("lawbench"), edits("lawbench"))
    place = Place(task("lawbench").seed().source)
    acts = found.act(policy, place, 6, temperature=1.0, seed=3)
    assert acts.chances is not None
    assert math.isclose(sum(math.exp(p) for p in acts.chances.values()), 1.0, abs_tol=1e-6)
    options = menu(place.source, edits("lawbench"))
    for action in acts.actions:
        assert action.program == options[action.text]
        assert math.isclose(sum(action.logprobs), acts.chances[action.text], abs_tol=1e-5)
        assert action.allowed is not None
        # The sampler's own constrained choice takes the same way through the tokens.
        drawn = policy.choose([action.prompt], [[f"{text}\n" for text in options]], seed=1)[0]
        if list(options)[drawn.index] == action.text:
            assert (drawn.tokens, drawn.allowed) == (action.tokens, action.allowed)
        # Over the whole vocabulary each token was less likely than among the few allowed.
        whole = policy.score([(action.prompt, action.tokens)])[0]
        assert all(w <= a + 1e-4 for w, a in zip(whole, action.logprobs, strict=True))
    assert acts.actions == found.act(policy, place, 6, temperature=1.0, seed=3).actions
    assert found.act(policy, place, 6, temperature=1.0, seed=4).actions != acts.actions


@pytest.mark.model
def test_an_answer_in_words_is_an_action_or_says_why_not(policy: TorchPolicy) -> None:
    """A model of this size writes no valid diff; what counts is that each answer is told apart and none is run."""
    found = space("diff", task("lawbench"), [], max_tokens=16)
    assert isinstance(found, Written)
    acts = found.act(policy, Place(SOURCE), 2, temperature=1.0, seed=0)
    assert acts.chances is None
    assert all((a.program is None) == bool(a.why) and a.allowed is None for a in acts.actions)
    assert all(len(a.logprobs) == len(a.tokens) <= 16 for a in acts.actions)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 3.0))
def test_constants_of_a_menu_stay_of_their_type(value: float) -> None:
    options = menu(f"N = 4\nX = {value!r}\n", [])
    assert {type(numeric_constants(p)["N"]) for p in options.values()} == {int}
    assert {type(numeric_constants(p)["X"]) for p in options.values()} == {float}
