"""A language model as feedback agent: whatever it answers, the loop gets one valid decision or none, and a count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models.policy import ServerGone
from agents.trace import Trace, read_trace
from feedback.agent import Answer
from feedback.archive import Archive
from feedback.briefing import brief
from feedback.budget import Prices, Spent
from feedback.decision import Lever, Moves, Setting
from feedback.llm_agent import MAX_ANSWER, LanguageModel, cut, parsed
from tests.feedback.conftest import DENOISING, NO_BOUND, Told, asking, told

BOTH = (Lever.HARNESS, Lever.WEIGHTS)


def answer(*edits: dict[str, Any], **more: Any) -> str:
    return json.dumps({"lever": "harness", "reason": "r", "edits": [{"edit": e} for e in edits], **more})


GOOD = answer({"kind": "setting", "name": "RANK", "value": 7})
TRAIN = json.dumps({"lever": "weights", "reason": "r", "training": {"objective": "grpo", "rounds": 1, "group": 4}})


def asked_of(chat: Told, archive: Archive, **how: Any) -> Answer:
    return LanguageModel(chat, "denoising").decide(asking(archive, **how))


def test_a_valid_answer_is_the_decision(archive: Archive) -> None:
    chat = told(GOOD)
    found = asked_of(chat, archive)
    assert found.decision is not None
    assert found.decision.edits[0].edit == Setting(name="RANK", value=7)
    assert (found.malformed, found.cost.tokens) == (0, 110)
    [prompt] = chat.seen
    assert "def denoise(counts)" in prompt[1] and "smooth_low_rank" in prompt[1]


def test_training_where_the_levers_have_it(archive: Archive) -> None:
    found = asked_of(told(TRAIN), archive, levers=BOTH)
    assert found.decision is not None and found.decision.training is not None
    assert found.decision.training.objective == "grpo"


MALFORMED = {
    "no JSON": ("I would raise the rank.", "no JSON object"),
    "empty": ("", "no JSON object"),
    "broken JSON": ('{"lever": "harness", ', "can't be read"),
    "no lever": ('{"edit": {"kind": "moves", "names": ["x"]}}', "names no lever"),
    "no edits": ('{"lever": "harness", "reason": "r"}', "at least one"),
    "unknown move": (answer({"kind": "moves", "names": ["make_it_better"]}), "no move 'make_it_better'"),
    "too many edits": (answer(*[{"kind": "program", "source": str(i)} for i in range(3)]), "3 edits, at most 2"),
    "wrong lever": (TRAIN, "lever weights is not among harness"),
    "infinite": (GOOD.replace("7", "1e999"), "less than or equal"),
    "too large": (GOOD.replace("7", "9" * 400), "less than or equal"),
    "no text": (answer({"kind": "program", "source": "\ud800"}), "string"),
    "huge": ("x" * (3 * MAX_ANSWER), "no JSON object"),
    "deep": ('{"lever":' * 100_000, "can't be read"),
    "braces": ("{" * 100_000, "can't be read"),
    "control characters": ('{"lever": "\x1b[2J\x07"}', "can't be read"),
    "a score of its own": (answer({"kind": "program", "source": "x"}, score=1.0), "Extra inputs"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_is_fed_back_once_with_the_reason_and_then_corrected(what: str, archive: Archive) -> None:
    bad, words = MALFORMED[what]
    chat = told(bad, GOOD)
    found = asked_of(chat, archive)
    assert found.decision is not None and found.malformed == 1
    assert found.cost.tokens == 220
    again = chat.seen[1]
    assert words in again[-1] and again[-1].isprintable() and len(again[-1]) < 300
    assert again[-2] and len(again[-2]) <= 2000, "what it said, cut"


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_twice_is_no_decision_and_counted(what: str, archive: Archive) -> None:
    chat = told(MALFORMED[what][0], MALFORMED[what][0], GOOD)
    found = asked_of(chat, archive)
    assert found.decision is None and found.malformed == 2 and not found.over
    assert MALFORMED[what][1] in found.why
    assert len(chat.seen) == 2


@pytest.mark.parametrize(
    "text",
    [
        f"Here is what I would do:\n```json\n{GOOD}\n```\nIt should help.",
        f"The set {{a, b}} and {{}} aside: {GOOD} {{and so on",
        f'First {{"thought": "rank"}} and then {GOOD}',
    ],
)
def test_json_inside_prose(text: str) -> None:
    assert parsed(text) == parsed(GOOD)


def test_one_edit_without_the_list_around_it() -> None:
    assert parsed('{"lever": "harness", "reason": "", "edit": {"kind": "moves", "names": ["a"]}}').edits[
        0
    ].edit == Moves(names=("a",))


@given(
    st.text(max_size=300)
    | st.recursive(st.none() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)).map(
        json.dumps
    )
)
def test_any_text_is_a_decision_or_a_value_error(text: str) -> None:
    try:
        parsed(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017


def test_structured_output_is_asked_for_and_given_up_where_there_is_none(archive: Archive) -> None:
    chat = told(RuntimeError("response_format is not supported"), GOOD, GOOD)
    agent = LanguageModel(chat, "denoising")
    assert agent.decide(asking(archive)).decision is not None
    assert agent.decide(asking(archive)).decision is not None
    assert ["response_format" in how for how in chat.how] == [True, False, False]
    told_form = chat.how[0]["response_format"]["json_schema"]["schema"]
    assert told_form["properties"]["lever"] == {"const": "harness"}
    plain = told(GOOD)
    LanguageModel(plain, "denoising", structured=False).decide(asking(archive))
    assert "response_format" not in plain.how[0]


def test_tokens_and_money_are_counted_with_and_without_usage(archive: Archive) -> None:
    prices = Prices(prompt=2.0, answer=10.0)
    known = LanguageModel(told(GOOD), "denoising", prices=prices).decide(asking(archive)).cost
    assert known == Spent(tokens=110, money=pytest.approx((100 * 2 + 10 * 10) / 1e6))
    chat = told(GOOD, usage=False)
    guessed = LanguageModel(chat, "denoising", prices=prices).decide(asking(archive)).cost
    assert guessed.tokens == sum(map(len, chat.seen[0])) // 4 + len(GOOD) // 4
    assert guessed.money > 0


def test_a_question_that_the_budget_does_not_hold_is_not_asked(archive: Archive) -> None:
    chat = told(GOOD)
    found = asked_of(chat, archive, left=Spent(99, 1e9, 1500, float("inf")))  # type: ignore[arg-type]
    assert found.decision is None and found.over and found.why.startswith("the budget of tokens")
    poor = LanguageModel(chat, "denoising", prices=Prices(1e6, 1e6)).decide(
        asking(archive, left=Spent(9, 9, 10**9, 0.5))
    )
    assert poor.over and poor.why.startswith("the budget of money")
    assert chat.seen == []


def test_a_provider_that_fails_tells_no_key(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-planted-5f1c")
    down = RuntimeError("401: key sk-planted-5f1c is not valid")
    with pytest.raises(ServerGone) as raised:
        asked_of(told(down, down), archive)
    assert "sk-planted-5f1c" not in str(raised.value) and "401" in str(raised.value)
    assert raised.value.__suppress_context__


def test_every_exchange_is_in_the_trace_and_bounded(archive: Archive, tmp_path: Path) -> None:
    trace = Trace(tmp_path / "agent.jsonl")
    LanguageModel(told("x" * 10**6, GOOD), "denoising", trace=trace).decide(asking(archive))
    first, second = read_trace(trace.path)
    assert first["tokens"] == second["tokens"] == [100, 10]
    assert len(str(first["answer"])) < 3000


def test_a_prompt_is_cut_to_the_context_and_to_what_the_model_takes(archive: Archive) -> None:
    chat = told(GOOD, GOOD)
    LanguageModel(chat, "denoising", context=2000).decide(asking(archive))
    assert len(chat.seen[0][1]) < 2000 + 1500 and "left out" in chat.seen[0][1]
    assert "# Your answer" in chat.seen[0][1]
    LanguageModel(chat, "denoising", fits=lambda text: len(text) < 1500).decide(asking(archive))
    assert len("\n".join(chat.seen[1])) < 1500
    assert cut("abc", 100) == "abc" and len(cut("x" * 1000, 100)) <= 110


def test_the_meta_agent_drafts_a_program_from_the_instruction(archive: Archive) -> None:
    asked = asking(archive)
    chat = told("no program", "```python\ndef denoise(counts):\n    return counts\n```")
    source, found = LanguageModel(chat, "denoising").draft(asked.briefing, "CONTRACT", (0, 0))
    assert source == "def denoise(counts):\n    return counts\n"
    assert (found.malformed, found.cost.tokens) == (1, 220)
    assert "CONTRACT" in chat.seen[0][0] and asked.briefing.instruction[:200] in chat.seen[0][0]
    for bad in ("```python\ndef f(:\n```", "```python\nx = " + "-" * 20_000 + "1\n```", "```\nx\n```\n```\ny\n```"):
        source, found = LanguageModel(told(bad, bad), "denoising").draft(asked.briefing, "", (0, 0))
        assert source is None and found.malformed == 2 and found.why


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(text=st.text(max_size=400))
def test_no_answer_ends_the_loop(archive: Archive, text: str) -> None:
    found = asked_of(told(text, text), archive)
    assert found.decision is not None or found.malformed == 2


@pytest.mark.model
@pytest.mark.slow
def test_the_real_small_model_is_asked_and_counted(archive: Archive) -> None:
    from agents.models.chat import SmolChatModel
    from agents.models.smollm2 import model_folder
    from agents.models.torch_local import LocalModel

    model = LocalModel(model_folder(print))
    agent = LanguageModel(
        SmolChatModel(model, temperature=0.7), "denoising", max_tokens=24, structured=False,
        fits=lambda text: len(model.encode(text)) < 600,
    )  # fmt: skip
    asked = asking(archive)
    found = agent.decide(asked)
    assert found.decision is not None or found.malformed == 2
    assert 0 < found.cost.tokens < 2 * (700 + 24)
    assert agent.decide(asked) == found, "the same seed gives the same answer"


def test_after_the_report_nobody_is_told_anything(archive: Archive) -> None:
    from feedback.archive import Report

    archive.save(Report(task="denoising", committed="c", begun=1, curve={}, wall_s=0.0))
    with pytest.raises(ValueError, match="report split"):
        brief(DENOISING, archive, archive.tries("denoising")[0], left=NO_BOUND, weights={}, trace=archive.folder)
