"""Decisions: data from an agent that may be anything. What is valid survives JSON; what is not is refused, and says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.edits import EditError
from benchmarks.registry import task
from feedback.decision import (
    MAX_EDITS,
    MAX_SOURCE,
    Decision,
    Diff,
    HarnessEdit,
    Lever,
    Moves,
    Program,
    Setting,
    TrainingWish,
    applied,
    named,
)
from feedback.moves import moves_for
from training.objectives import OBJECTIVES

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
edits = st.one_of(
    st.builds(Moves, names=st.lists(words, min_size=1, max_size=16).map(tuple)),
    st.builds(Setting, name=words, value=st.one_of(st.integers(-(10**15), 10**15), st.floats(-1e15, 1e15))),
    st.builds(Diff, text=words),
    st.builds(Program, source=words),
)
wishes = st.builds(
    TrainingWish, objective=st.sampled_from(sorted(OBJECTIVES)), rounds=st.integers(1, 64), group=st.integers(2, 64),
    learning_rate=st.floats(1e-8, 0.1), rank=st.integers(1, 256),
)  # fmt: skip
tries = st.builds(HarnessEdit, edit=edits, parent=st.none() | words)
decisions = st.one_of(
    st.builds(Decision, lever=st.just(Lever.HARNESS), reason=words,
              edits=st.lists(tries, min_size=1, max_size=MAX_EDITS).map(tuple), training=st.none()),
    st.builds(Decision, lever=st.just(Lever.WEIGHTS), reason=words, edits=st.just(()), training=wishes),
)  # fmt: skip


@given(decisions)
def test_a_decision_survives_json(decision: Decision) -> None:
    assert Decision.model_validate(json.loads(json.dumps(decision.model_dump(mode="json")))) == decision


EDIT = {"edit": {"kind": "moves", "names": ["smooth_low_rank"]}}
HARNESS: dict[str, Any] = {"lever": "harness", "reason": "r", "edits": [EDIT]}
WEIGHTS: dict[str, Any] = {"lever": "weights", "reason": "r", "training": {}}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({**HARNESS, "training": {}}, "no training"),
        ({**WEIGHTS, "edits": [EDIT]}, "no edits"),
        ({**HARNESS, "edits": []}, "at least one"),
        ({**WEIGHTS, "training": None}, "takes training"),
        ({**HARNESS, "lever": "both"}, "harness"),
        ({**HARNESS, "edits": [EDIT] * (MAX_EDITS + 1)}, "at most 8"),
        ({**HARNESS, "reason": "r" * 1001}, "at most 1000"),
        ({**HARNESS, "score": 1.0}, "Extra inputs"),
        ({**HARNESS, "edits": [{**EDIT, "keep": True}]}, "Extra inputs"),
        ({**HARNESS, "edits": [{"edit": {"kind": "shell", "text": "ls"}}]}, "does not match any"),
        ({**HARNESS, "edits": [{"edit": {"kind": "moves", "names": []}}]}, "at least 1"),
        ({**HARNESS, "edits": [{"edit": {"kind": "program", "source": "#" * (MAX_SOURCE + 1)}}]}, "at most"),
        ({**HARNESS, "edits": [{"edit": {"kind": "program", "source": "\ud800"}}]}, "valid string"),
        ({**HARNESS, "edits": [{"edit": {"kind": "diff", "text": "#" * (MAX_SOURCE + 1)}}]}, "at most"),
        ({**WEIGHTS, "training": {"objective": "ppo"}}, "no objective 'ppo'"),
        ({**WEIGHTS, "training": {"rounds": 0}}, "greater than or equal to 1"),
        ({**WEIGHTS, "training": {"rounds": 10**9}}, "less than or equal to 64"),
        ({**WEIGHTS, "training": {"learning_rate": float("inf")}}, "less than or equal"),
        ({**WEIGHTS, "training": {"learning_rate": float("nan")}}, "less than or equal"),
    ],
)
def test_what_is_no_decision_is_refused_with_the_reason(told: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Decision.model_validate(told)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e300, -1e16, 10**30])
def test_a_setting_is_a_number_that_a_program_can_hold(value: float) -> None:
    with pytest.raises(ValidationError):
        Setting(name="RANK", value=value)


SOURCE = task("denoising").seed().source
LIBRARY: dict[str, object] = {m.name: m for m in moves_for("denoising")}


def test_moves_are_made_one_after_another() -> None:
    one = applied(Moves(names=("smooth_low_rank",)), SOURCE, LIBRARY)
    both = applied(Moves(names=("smooth_low_rank", "choose_by_holdout")), SOURCE, LIBRARY)
    assert one != both != SOURCE
    # A second time there is nothing to add; beside a move that fits, that is passed over.
    assert applied(Moves(names=("smooth_low_rank", "smooth_low_rank")), SOURCE, LIBRARY) == one


def test_a_setting_changes_one_line() -> None:
    made = applied(Setting(name="RANK", value=7), SOURCE, LIBRARY)
    changed = [pair for pair in zip(SOURCE.splitlines(), made.splitlines(), strict=True) if pair[0] != pair[1]]
    assert changed == [("RANK = 12", "RANK = 7")]


def test_a_diff_and_a_program() -> None:
    block = "<<<<<<< SEARCH\nRANK = 12\n=======\nRANK = 9\n>>>>>>> REPLACE"
    assert applied(Diff(text=block), SOURCE, LIBRARY) == applied(Setting(name="RANK", value=9), SOURCE, LIBRARY)
    assert applied(Program(source="x = 1"), SOURCE, LIBRARY) == "x = 1\n"


DEEP = "x = " + "-" * 20_000 + "1\n"
"""Nested deeper than the parser goes."""


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (Moves(names=("no_such_move",)), "no move 'no_such_move'"),
        (Setting(name="NOWHERE", value=1), "no constant NOWHERE"),
        (Setting(name="RANK", value=12), "changes nothing"),
        (Diff(text="nothing to see"), "blocks"),
        (Diff(text="<<<<<<< SEARCH\nnot there\n=======\nx\n>>>>>>> REPLACE"), "0 times"),
        (Diff(text=f"<<<<<<< SEARCH\nRANK = 12\n=======\n{DEEP}>>>>>>> REPLACE"), "does not parse"),
        (Program(source=SOURCE), "changes nothing"),
    ],
)
def test_an_edit_that_makes_nothing_says_why(edit: Any, words: str) -> None:
    with pytest.raises(EditError, match=words):
        applied(edit, SOURCE, LIBRARY)


def test_editing_a_program_that_no_parser_reads_is_an_edit_error() -> None:
    with pytest.raises(EditError, match="does not parse"):
        applied(Setting(name="RANK", value=3), DEEP, LIBRARY)


@given(edits)
def test_whatever_is_asked_of_a_real_program_is_a_program_or_an_edit_error(edit: Any) -> None:
    try:
        made = applied(edit, SOURCE, LIBRARY)
    except EditError:
        return
    assert made != SOURCE
    assert named(edit)
