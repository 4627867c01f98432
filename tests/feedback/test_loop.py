"""The loop, end to end, on the cells with real sandboxes: staging, canary, second evaluator, budgets, and a report scored once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.denoising import data
from benchmarks.evaluator import Evaluator
from benchmarks.task import Split
from feedback.agent import Answer, Asked, FeedbackAgent
from feedback.archive import Archive
from feedback.briefing import Briefing
from feedback.budget import Budget, Prices, Spent
from feedback.decision import Decision, HarnessEdit, Lever, Moves, Program
from feedback.llm_agent import LanguageModel
from feedback.loop import Loop, Plan
from feedback.moves import moves_for
from feedback.report import Finished
from feedback.scoring import vetoed, watch_stop
from feedback.search_agent import Search
from results.record import read_record
from sandboxes.base import SandboxFactory
from tests.feedback.conftest import DENOISING, told
from tests.feedback.test_llm_agent import answer

BROKEN = {
    "parse": "def denoise(:",
    "import": "import nowhere_to_be_found",
    "contract": "def other(counts): return counts",
    "smoke": "def denoise(counts):\n    raise KeyError('[/bold] [red]x\\x1b[2J')",
}


@dataclass(frozen=True)
class Decided:
    """An agent whose decisions are written down before: the n-th generation's edits."""

    decisions: tuple[tuple[Any, ...], ...]
    name: str = "decided"

    def decide(self, asked: Asked) -> Answer:
        edits = self.decisions[asked.seed[1] - 1]
        made = tuple(HarnessEdit(edit=e) for e in edits)
        return (
            Answer(Decision(lever=Lever.HARNESS, reason="[/b] so it is\x1b[2J", edits=made)) if edits else Answer(None)
        )

    def draft(self, briefing: Briefing, contract: str, seed: Any) -> tuple[str | None, Answer]:
        return None, Answer(None)


@pytest.fixture(scope="module")
def process(sandboxes: SandboxFactory) -> Iterator[Evaluator]:
    DENOISING.fetch(lambda message: None)
    with Evaluator(sandboxes.name, ahead=2) as found:
        yield found


Started = Callable[..., tuple[Loop, Archive, list[str]]]


@pytest.fixture(scope="module")
def start(process: Evaluator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    opened: list[Archive] = []

    def made(agent: FeedbackAgent, folder: Path | None = None, **plan: Any) -> tuple[Loop, Archive, list[str]]:
        archive, said = Archive(folder or tmp_path_factory.mktemp("run")), list[str]()
        opened.append(archive)
        return Loop(DENOISING, Plan(quick=True, **plan), agent, archive, process, said.append), archive, said

    yield made
    for archive in opened:
        archive.close()


@dataclass(frozen=True)
class Ran:
    loop: Loop
    archive: Archive
    said: list[str]
    finished: Finished


@pytest.fixture(scope="module")
def ran(start: Started) -> Ran:
    """Generation 1: four broken programs. 2: one that is better. 3: one that is worse and keeps its line ends, and nothing."""
    worse = DENOISING.seed().source.replace("CONTRAST = 1.0", "CONTRAST = 0.5").replace("\n", "\r\n")
    decided = Decided((
        tuple(Program(source=s) for s in BROKEN.values()),
        (Moves(names=("smooth_low_rank",)), Moves(names=("no_such_move",))),
        (Program(source=worse),),
    ))  # fmt: skip
    loop, archive, said = start(decided, generations=3, width=4)
    return Ran(loop, archive, said, loop.run())


@pytest.mark.sandbox
def test_a_broken_program_is_stopped_at_its_stage_and_never_scored(ran: Ran) -> None:
    tries = ran.archive.tries("denoising", 1)
    assert [t.stage for t in tries] == list(BROKEN)
    for tried in tries:
        score = tried.scored
        assert score is not None and not score.ok and tried.gain is None
        assert score.reason.startswith(f"staging, {tried.stage}: ")
    assert ran.archive.looks("denoising", 1) == [], "no paired evaluation was paid for"


@pytest.mark.sandbox
def test_words_of_a_program_or_an_agent_are_not_obeyed_by_the_screen(ran: Ran) -> None:
    assert all("\x1b" not in line and "\n" not in line for line in ran.said)
    assert any("[/bold]" in line for line in ran.said), "it is shown as it is"


@pytest.mark.sandbox
def test_a_kept_step_has_its_canary_and_its_second_opinion(ran: Ran) -> None:
    step = ran.archive.generations("denoising")[2]
    [kept] = ran.archive.tries("denoising", 2)
    assert step.best == kept.id and step.gain == kept.gain and (kept.gain or 0) > 0
    assert kept.p is not None and kept.alpha is not None and kept.p <= kept.alpha
    assert step.canary is not None and step.canary["verdict"] == "ok"
    assert step.watch is not None and step.watch["second_gain"] > 0
    assert step.watch["distance"] == pytest.approx(step.watch["first_gain"] - step.watch["second_gain"])
    assert step.evidence["refused"] == ["no_such_move: no move 'no_such_move'"]
    assert ran.archive.looks("denoising", 2)[0].committed == kept.committed


@pytest.mark.sandbox
def test_the_best_never_goes_back(ran: Ran) -> None:
    bests = [g.best for g in ran.archive.generations("denoising")]
    assert bests[0] == bests[1] and bests[2] == bests[3] != bests[0]
    [worse] = ran.archive.tries("denoising", 3)
    assert worse.scored is not None and worse.scored.ok, "a program with other line ends comes back as it was"
    assert worse.id not in bests


@pytest.mark.sandbox
def test_the_report_split_is_scored_once_even_after_another_call(ran: Ran) -> None:
    report = ran.archive.report("denoising")
    assert report is not None and report.begun == 1
    spent = ran.loop.books.spent()
    again = ran.loop.run()
    after = ran.archive.report("denoising")
    assert after is not None and (after.begun, after.committed) == (1, report.committed)
    assert again == ran.finished and ran.loop.books.spent() == spent
    record = read_record(ran.finished.path)
    assert record.gain is not None and record.gain < 0, "less error"
    assert record.run["spent"]["candidates"] == spent.candidates
    assert [g["number"] for g in record.run["generations"]] == [0, 1, 2, 3]


@pytest.mark.sandbox
def test_a_gain_that_is_a_loss_for_the_second_evaluator_is_not_kept(start: Started) -> None:
    """The program is good where a tenth of the molecules is held out, and destroys the cells where a fifth is."""
    [move] = [m for m in moves_for("denoising") if m.name == "smooth_low_rank"]
    where = (
        f"    if counts.sum() < {0.85 * data.counts(Split.SEARCH).sum():.0f}:\n        return np.ones(counts.shape)\n"
    )
    call = "    contrast, weight = settings"
    source = move.edit(DENOISING.seed().source).replace(call, where + call, 1)
    loop, archive, _ = start(Decided(((Program(source=source),), ())), generations=2, width=1)
    best = loop.search()
    [tried] = archive.tries("denoising", 1)
    assert best.generation == 0 and (tried.gain or 0) > 0
    step = archive.generations("denoising")[1]
    assert step.best == best.id and step.gain == 0.0 and step.watch is not None and step.watch["second_gain"] < 0
    assert "is a loss" in tried.why and not archive.spending("denoising").stopped


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("budget", "word"), [(Budget(candidates=9), "9 candidates"), (Budget(seconds=0.1), "0.1 seconds")]
)
def test_a_run_ends_within_its_budget_and_says_which(start: Started, budget: Budget, word: str) -> None:
    loop, archive, _ = start(Search(DENOISING), generations=50, width=3, budget=budget)
    loop.run()
    spent = loop.books.spent()
    assert word in archive.spending("denoising").stopped
    if budget.candidates:
        assert spent.candidates <= budget.candidates, "the report is within it, too"
        assert archive.generations("denoising")[-1].number >= 1
    else:
        assert len(archive.generations("denoising")) == 1
    again, _, _ = start(Search(DENOISING), folder=archive.folder, generations=50, width=3, budget=budget)
    assert again.books.spent() == spent and again.books.may_not_begin() == archive.spending("denoising").stopped
    assert not isinstance(spent, Spent) or spent.seconds > 0


@pytest.mark.sandbox
@pytest.mark.parametrize("budget", [Budget(tokens=18_000), Budget(money=0.018)], ids=["tokens", "money"])
def test_a_run_whose_model_costs_ends_before_the_line(start: Started, budget: Budget) -> None:
    """A refused draft (two questions of 4,010 tokens), one generation (a third); the next question might not fit."""
    edit = answer({"kind": "moves", "names": ["smooth_low_rank"]})
    chat = told("no program", "no program", edit, *["never asked"] * 4, reads=4000)
    agent = LanguageModel(chat, "denoising", prices=Prices(prompt=1.0, answer=1.0))
    loop, archive, _ = start(agent, generations=50, width=1, watch=False, budget=budget)
    finished = loop.run()
    spent, stopped = loop.books.spent(), archive.spending("denoising").stopped
    assert spent.tokens == 3 * 4010 and spent.money == pytest.approx(3 * 4010 / 1e6)
    assert stopped.startswith(f"the budget of {'tokens' if budget.tokens else 'money'} is spent")
    assert {t.generation for t in archive.tries("denoising")} == {0, 1}
    assert len(chat.script) == 4 and finished.path.is_file(), "and what was found is reported"


def step(first: float = 0.1, second: float | None = 0.1, high: float = 0.2, **more: Any) -> dict[str, Any]:
    return {"first_gain": first, "second_gain": second, "low": -0.1, "high": high, **more}


def test_when_the_watch_stops_a_run() -> None:
    assert watch_stop([]) == ""
    assert watch_stop([step(), step()]) == ""
    assert watch_stop([{"new_advice": []}] * 2) == "", "a task without a second evaluator"
    assert watch_stop([step(second=-0.01)]) == "", "one step of no gain may be chance"
    assert "two steps in a row" in watch_stop([step(second=-0.01), step(second=0.0)])
    assert "two steps in a row" in watch_stop([step(second=-0.01), {"failed": "crash: x"}])
    assert watch_stop([step(second=-0.01), step(), step(second=-0.01)]) == ""


def test_what_the_second_evaluator_vetoes() -> None:
    assert vetoed(step()) == vetoed({"new_advice": []}) == vetoed(step(second=-0.05)) == ""
    assert "a loss of -0.3" in vetoed(step(second=-0.3, high=-0.1))
    assert "crash: x" in vetoed({"failed": "crash: x", "first_gain": 0.1})
