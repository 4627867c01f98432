"""What the agents may see, proven: strings planted in everything private reach no prompt, no trace and no sandbox.

Two short runs with real sandboxes are made while the strings are planted, with a chat model that remembers what it is told,
and a candidate that hands out all that it can read. Then each way out is searched. The same search must find a leak that is
made on purpose.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from agents.models.gate import SocketGate
from agents.models.scripted import ScriptedGate, ScriptedModel
from agents.trace import Trace
from benchmarks.denoising import data as cells_data
from benchmarks.denoising.cells import Cells
from benchmarks.denoising.score import TASK as CELLS
from benchmarks.denoising.trial import trials
from benchmarks.evaluator import Evaluator
from benchmarks.lawbench import data as law_data
from benchmarks.registry import ROOT, task
from benchmarks.task import Bench, Candidate, Score, Split
from feedback import briefing, proposing
from feedback.archive import Archive
from feedback.briefing import VISIBLE, Briefing
from feedback.llm_agent import LanguageModel
from feedback.loop import Loop, Plan
from sandboxes.base import SandboxFactory
from sandboxes.cache import cache_dir
from tests.feedback.conftest import DENOISING, NO_BOUND, Told, told
from tests.feedback.hunter import ASKER, HUNTER, LAW_LOUD, LOUD
from tests.feedback.test_llm_agent import answer

pytestmark = pytest.mark.sandbox


def test_the_list_in_code_is_what_a_briefing_holds() -> None:
    assert {f.name for f in dataclasses.fields(Briefing)} == set(VISIBLE) | {"task"}


# -- what is private -----------------------------------------------------------------------------------------------


def planted_names() -> dict[str, str]:
    return {where: f"canary-{secrets.token_hex(8)}" for where in ("environment", "home", "run folder", "file name")}


def source_lines(name: str) -> dict[str, str]:
    """Lines that stand in the evaluator only: not in what a task shows, and not in what the agents' own side says."""
    folder = task(name).folder
    shown = [folder / "README.md", *(folder / "seed").glob("*"), *(folder / "baselines").glob("*.py")]
    shown += [*(Path(briefing.__file__).parent).rglob("*.py")]
    known = "\n".join(path.read_text() for path in shown if path.is_file())
    lines = [
        f"{file}:{line.strip()}" for file in ("score.py", "metrics.py")
        for line in (folder / file).read_text().splitlines() if len(line.strip()) > 30 and line.strip() not in known
    ]  # fmt: skip
    assert len(lines) > 30
    return {f"evaluator source, {line[:40]}": line.partition(":")[2] for line in lines}


def report_texts() -> dict[str, str]:
    """Pieces of the report split's cases that stand in no other case, and the names of all cases."""
    law = law_data.load()
    other = "\n".join(case.text for case in (*law.train, *law.search))
    pieces = {f"report case {c.key}": c.text[20:40] for c in law.report if len(c.text) > 40}
    pieces = {where: piece for where, piece in pieces.items() if piece not in other}
    assert len(pieces) > 300
    return pieces | {f"name of case {c.key}": f'"{c.key}"' for c in (*law.search, *law.report)}


def secret_seeds(archive: Archive, name: str) -> dict[str, str]:
    """The seeds that scorings revealed, and the nonces that hid them. They stand in the archive and must stay there."""
    found: dict[str, str] = {}
    for number in range(4):
        for look in archive.looks(name, number):
            for key, raw in look.scores.items():
                seed, _, nonce = Score.model_validate(raw).seed_revealed.partition(":")
                found |= {f"seed of look {number}/{look.number} {key}": seed, f"nonce of look {number} {key}": nonce}
    first = archive.tries(name, 0)[0].scored
    assert first is not None and first.seed_revealed
    seed, _, nonce = first.seed_revealed.partition(":")
    return found | {"seed of the first scoring": seed, "its nonce": nonce}


def paths(folder: Path) -> dict[str, str]:
    return {"path of the code": str(ROOT), "path of the run": str(folder), "path of the cache": str(cache_dir()),
            "path of the home": str(Path.home()) + "/", "python": os.path.realpath(os.sys.executable)}  # type: ignore[attr-defined]  # fmt: skip


def leaks(text: str, private: Mapping[str, str]) -> list[str]:
    """Which private strings stand in a text."""
    return [where for where, string in private.items() if string and string in text]


# -- two runs, with all of it planted ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """What came out of a run."""

    name: str
    archive: Archive
    chat: Told
    trace: str
    said: str
    private: dict[str, str]

    @property
    def prompts(self) -> str:
        return "\n".join(text for messages in self.chat.seen for text in messages)


@pytest.fixture(scope="module")
def planted() -> Iterator[dict[str, str]]:
    """Strings in this process's environment, which the evaluator inherits, and in a file in the home."""
    made = planted_names()
    file = Path.home() / f".ratchet-test-{made['file name']}"
    file.write_text(made["home"])
    os.environ["RATCHET_TEST_API_KEY"] = made["environment"]
    try:
        yield made
    finally:
        del os.environ["RATCHET_TEST_API_KEY"]
        file.unlink()


@pytest.fixture(scope="module")
def runs(
    planted: dict[str, str], sandboxes: SandboxFactory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Ran]]:
    folder = tmp_path_factory.mktemp("visible")
    (folder / "notes.txt").write_text(planted["run folder"])
    script = {
        "denoising": [
            "nonsense",
            answer({"kind": "moves", "names": ["smooth_low_rank"]}, {"kind": "program", "source": LOUD},
                   {"kind": "program", "source": HUNTER}),
            answer({"kind": "setting", "name": "RANK", "value": 7}),
        ],
        "lawbench": [answer({"kind": "program", "source": LAW_LOUD}, {"kind": "program", "source": ASKER}), "no", "no"],
    }  # fmt: skip
    with ExitStack() as stack:
        gate = SocketGate(folder / "trace" / "model.jsonl", load=ScriptedModel)
        process = stack.enter_context(Evaluator(sandboxes.name, model=gate, scripted=ScriptedGate(), ahead=2))
        archive = Archive(folder)
        stack.callback(archive.close)
        found = {}
        for name, answers in script.items():
            known, said = task(name), list[str]()
            known.fetch(lambda message: None)
            chat = told("no program", "no program", *answers)
            agent = LanguageModel(chat, name, trace=Trace(folder / "trace" / "agent.jsonl"))
            plan = Plan(generations=2, width=3, quick=True, watch=name == "denoising")
            Loop(known, plan, agent, archive, process, said.append).search()
            assert len(chat.script) == 0, "the run asked for all of it"
            private = planted | source_lines(name) | report_texts() | secret_seeds(archive, name) | paths(folder)
            private |= {"a unit of a score": "t0/cell17"}
            trace = "\n".join(path.read_text() for path in (folder / "trace").glob("*.jsonl"))
            found[name] = Ran(name, archive, chat, trace, "\n".join(said), private)
        yield found


NAMES = ["denoising", "lawbench"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_private_reaches_a_prompt(name: str, runs: dict[str, Ran]) -> None:
    ran = runs[name]
    assert len(ran.chat.seen) == 5
    assert leaks(ran.prompts, ran.private) == []
    # What is visible is there: the runs did tell of programs, failures and gains.
    assert "crash" in ran.prompts and "RuntimeError" in ran.prompts and ran.archive.tries(name, 1)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_private_reaches_a_trace_before_the_report(name: str, runs: dict[str, Ran]) -> None:
    ran = runs[name]
    assert '"kind": "feedback"' in ran.trace
    assert ('"kind": "model"' in ran.trace) == task(name).uses_model
    assert leaks(ran.trace, ran.private) == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_private_is_said_on_the_screen(name: str, runs: dict[str, Ran]) -> None:
    ran = runs[name]
    assert leaks(ran.said, ran.private) == []


def test_the_cases_of_the_search_split_are_told_without_their_charges(runs: dict[str, Ran]) -> None:
    """The trace tells what programs asked, and a program can ask only what it was given: texts."""
    trace, law = runs["lawbench"].trace, law_data.load()
    told_of = [case for case in law.search if case.text[:40] in trace]
    assert told_of, "the trace does tell of cases"
    assert not [case for case in told_of if f'{case.text[:40]}", "charge"' in trace]


def handed_out(bench: Bench, source: str = HUNTER) -> str:
    """All that a candidate can read in its sandbox, brought out through its own answer."""
    [trial] = trials(Cells(cells_data.counts(Split.SEARCH)), 12345, 1)
    outcome = CELLS._run(Candidate(source=source), trial, bench)
    assert outcome.output is not None, outcome.reason
    shape = trial.split.train.shape
    values = np.frombuffer(outcome.output[-4 * shape[0] * shape[1] :], dtype="<f4").astype("<u4")
    flat = values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    size = int.from_bytes(flat[:4], "big")
    assert size + 4 <= len(flat), "the candidate found more than its answer holds"
    return zlib.decompress(flat[4 : 4 + size]).decode()


def test_nothing_private_reaches_a_sandbox(planted: dict[str, str], runs: dict[str, Ran], bench: Bench) -> None:
    text = handed_out(bench)
    assert "PYTHONPATH" in text and "/scratch/guest.py" in text, "it did look"
    private = planted | paths(runs["denoising"].archive.folder) | source_lines("denoising") | {"seed": "12345"}
    private |= {
        "user": f"/home/{os.environ.get('USER', 'nobody-of-this-name')}",
        "code": "benchmarks/denoising/score.py",
    }
    del private["path of the home"]  # root's, which every container has
    assert leaks(text.replace(HUNTER, ""), private) == []


# -- and the search does find leaks --------------------------------------------------------------------------------


def test_a_candidate_that_was_given_a_secret_would_be_found(planted: dict[str, str], bench: Bench) -> None:
    text = handed_out(bench, HUNTER + f"\nGIVEN = {planted['home']!r}\n")
    assert leaks(text, planted) == ["home"]


LEAKS = {
    "environment": "instruction",
    "its nonce": "trace",
    "path of the run": "program",
    "a unit of a score": "moves",
}


@pytest.mark.parametrize("where", LEAKS)
def test_a_leak_made_on_purpose_is_found(where: str, runs: dict[str, Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same prompts, made by a briefing that lets one private string through."""
    ran = runs["denoising"]
    honest, secret = proposing.brief, ran.private[where]

    def leaky(*args: object, **kwargs: object) -> Briefing:
        made = honest(*args, **kwargs)  # type: ignore[arg-type]
        was = getattr(made, LEAKS[where])
        now = (
            {**was, "m": secret}
            if isinstance(was, dict)
            else (*was, secret)
            if isinstance(was, tuple)
            else was + secret
        )
        return dataclasses.replace(made, **{LEAKS[where]: now})

    monkeypatch.setattr(proposing, "brief", leaky)
    chat = told("no", "no")
    best = ran.archive.tries("denoising", 0)[0]
    found = proposing.brief(
        DENOISING, ran.archive, best, left=NO_BOUND, weights={}, trace=ran.archive.folder / "no.jsonl"
    )
    LanguageModel(chat, "denoising").draft(found, "", (0,))
    text = found.text(["harness"])  # type: ignore[list-item]
    assert leaks(text, ran.private) == [where]


def test_report_cases_in_a_prompt_would_be_found(runs: dict[str, Ran]) -> None:
    case = next(c for c in law_data.load().report if f"report case {c.key}" in runs["lawbench"].private)
    assert leaks(runs["lawbench"].prompts + case.text, runs["lawbench"].private) == [f"report case {case.key}"]
