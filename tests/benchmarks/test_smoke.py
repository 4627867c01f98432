"""Staging: every check stops what it is there to stop, says so, and never costs a scoring or shows a word of the data."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from agents.models.scripted import ScriptedGate
from benchmarks.denoising import data as cells_data
from benchmarks.denoising.cells import Cells, made_up
from benchmarks.denoising.trial import trials
from benchmarks.evaluator import Evaluator
from benchmarks.lawbench import data as law
from benchmarks.lawbench import smoke as law_smoke
from benchmarks.registry import task
from benchmarks.smoke import SMOKE_SEED, Staged
from benchmarks.task import Candidate, Split, Stage, Verdict
from sandboxes.base import SandboxFactory, UserError

pytestmark = pytest.mark.sandbox
Stager = Callable[..., list[Staged]]
DOMAINS = {"lawbench": "predict", "denoising": "denoise", "softmax": "kernel"}
RIGHT = {"lawbench": "train, cases, charges, model", "denoising": "counts", "softmax": "x, out"}


@pytest.fixture(scope="module", autouse=True)
def at_hand() -> None:
    for name in DOMAINS:
        task(name).fetch(lambda message: None)


@pytest.fixture(scope="module")
def stager(sandboxes: SandboxFactory) -> Iterator[Evaluator]:
    with Evaluator(sandboxes.name, scripted=ScriptedGate(), ahead=2) as process:
        yield process


def program(name: str, text: str, arguments: str | None = None) -> str:
    """A program of that domain whose function does `text`."""
    return f"import numpy as np\ndef {DOMAINS[name]}({arguments or RIGHT[name]}):\n    {text}\n"


def sources(name: str) -> dict[str, tuple[str, Stage, Verdict, str]]:
    """Programs by what is wrong with them: source, the stage that stops it, verdict, words of the reason."""
    function = DOMAINS[name]
    wrong_form = {
        "lawbench": ("return cases", Verdict.INVALID, "each answer must be"),
        "denoising": ("return counts[:3]", Verdict.INVALID, "shape"),
        "softmax": ("out.copy_(x)", Verdict.WRONG, "out of tolerance"),
    }[name]
    nothing = {
        "lawbench": ("return []", Verdict.INVALID, "list of 8"),
        "denoising": ("return None", Verdict.INVALID, "returned nothing"),
        "softmax": ("pass", Verdict.WRONG, "never written"),
    }[name]
    return {
        "does not parse": (f"def {function}(:", Stage.PARSE, Verdict.INVALID, "does not parse"),
        "is no text": ("\0", Stage.PARSE, Verdict.INVALID, "does not parse"),
        "lacks a package": ("import no_such_package", Stage.IMPORT, Verdict.CRASH, "ModuleNotFoundError"),
        "leaves": ("raise SystemExit(0)", Stage.IMPORT, Verdict.INVALID, "SystemExit"),
        "is killed": ("import os\nos.kill(os.getpid(), 9)", Stage.IMPORT, Verdict.CRASH, "signal 9"),
        "forges a word": (
            "import os\nopen('/scratch/stage', 'w').write('ready')\nos._exit(66)", Stage.SMOKE, Verdict.CRASH, "66",
        ),
        "defines nothing": ("x = 1", Stage.CONTRACT, Verdict.INVALID, f"no function {function}"),
        "takes nothing": (f"def {function}(): pass", Stage.CONTRACT, Verdict.INVALID, "TypeError"),
        "wants more": (program(name, "pass", "a, b, c, d, e"), Stage.CONTRACT, Verdict.INVALID, "TypeError"),
        "raises": (program(name, "raise KeyError('x\\x07\\ny')"), Stage.SMOKE, Verdict.CRASH, "KeyError"),
        "answers otherwise": (program(name, wrong_form[0]), Stage.SMOKE, *wrong_form[1:]),
        "answers nothing": (program(name, nothing[0]), Stage.SMOKE, *nothing[1:]),
    }  # fmt: skip


@pytest.mark.parametrize("name", DOMAINS)
def test_each_is_stopped_at_its_stage_and_the_seed_is_ready(name: str, stager: Evaluator) -> None:
    bad = sources(name)
    if name == "softmax":  # Loading torch takes seconds each time, and the loader is the one of the others.
        bad = {
            what: bad[what] for what in ("does not parse", "is killed", "takes nothing", "raises", "answers otherwise")
        }
    candidates = [task(name).seed(), *(Candidate(source=source) for source, *_ in bad.values())]
    seed, *found = stager.stage(name, candidates)
    assert (seed.stage, seed.verdict, seed.reason, seed.ready) == (Stage.READY, Verdict.OK, "", True)
    assert [one.sha for one in (seed, *found)] == [candidate.sha for candidate in candidates]
    for (what, (_, stage, verdict, words)), one in zip(bad.items(), found, strict=True):
        assert (one.stage, one.verdict) == (stage, verdict), (what, one)
        assert one.reason.startswith(f"{stage.value}: ") and words in one.reason, (what, one)
        assert one.reason.isprintable() and len(one.reason) < 600
        assert not one.ready


def test_a_function_may_take_more_than_it_is_given(stager: Evaluator) -> None:
    [found] = stager.stage("denoising", [Candidate(source="def denoise(counts, *, rank=3, **more): return counts")])
    assert found.ready, found


def test_a_source_that_is_too_large_costs_no_sandbox(stager: Evaluator) -> None:
    for name in DOMAINS:
        [found] = stager.stage(name, [Candidate(source="#" * (1024 * 1024 + 1))])
        assert (found.stage, found.verdict) == (Stage.PARSE, Verdict.INVALID)
        assert "larger than" in found.reason
        assert found.seconds < 0.1


@pytest.mark.parametrize(
    ("name", "baselines"),
    [("lawbench", ["knn", "linear_svm", "zero_shot", "retrieval"]), ("denoising", ["svd", "knn", "magic"]),
     ("trimul", ["planes"])],
)  # fmt: skip
def test_known_programs_are_ready(name: str, baselines: list[str], stager: Evaluator) -> None:
    found = stager.stage(name, [task(name).seed(), *(task(name).baseline(b) for b in baselines)])
    assert [one.stage for one in found] == [Stage.READY] * (1 + len(baselines)), found


def test_a_harness_talks_to_the_scripted_model(stager: Evaluator) -> None:
    source = program(
        "lawbench",
        "assert model.choose(['a', 'b'], [['x', 'y'], ['z']]) == [0, 0] and model.chat([{'role': 'user', 'content': 'q'}])"
        "\n    return [charges[0]] * len(cases)",
    )
    [found] = stager.stage("lawbench", [Candidate(source=source, weights="a" * 64)])
    assert found.ready, found


def test_staging_without_a_scripted_model_says_what_is_missing_and_the_evaluator_goes_on(
    sandboxes: SandboxFactory,
) -> None:
    with Evaluator(sandboxes.name) as process:
        with pytest.raises(UserError, match="scripted"):
            process.stage("lawbench", [task("lawbench").seed()])
        assert process.stage("denoising", [task("denoising").seed()])[0].ready


def grams(texts: Any, length: int) -> set[str]:
    return {text[at : at + length] for text in texts for at in range(len(text) - length + 1)}


def test_the_made_up_cases_share_no_text_with_the_data() -> None:
    files = law.published_files()
    rows, cases = law_smoke.made_up(files.charges)
    shown = [str(row["text"]) for row in (*rows, *cases)]
    assert {str(row["charge"]) for row in rows} <= set(files.charges)
    assert min(map(len, shown)) > 20
    real = grams((case.text for case in (*files.training, *files.testing)), 6)
    assert len(real) > 100_000
    assert not grams(shown, 6) & real


def test_the_made_up_counts_are_no_cells_of_the_data() -> None:
    made = made_up().counts.toarray()
    for split in Split:
        real = cells_data.counts(split)
        assert made.shape[1] != real.shape[1]
        assert not {tuple(np.sort(row[row > 0])) for row in made} & {
            tuple(np.sort(real[i].data)) for i in range(real.shape[0])
        }


def test_the_made_up_inputs_are_the_same_for_everybody() -> None:
    assert law_smoke.made_up("abcdefgh") == law_smoke.made_up("abcdefgh")
    one, other = (trials(Cells(made_up().counts), SMOKE_SEED, 1)[0].inputs["counts.npz"] for _ in range(2))
    first, second = (np.load(io.BytesIO(raw)) for raw in (one, other))
    assert all((first[key] == second[key]).all() for key in first.files)


def test_no_timed_shape_is_smoked() -> None:
    for name in ("softmax", "trimul", "rope"):
        problem = task(name).problem  # type: ignore[attr-defined]
        tried = problem.checks()[0]
        timed = [shape for split in Split for shape in problem.shapes(split)]
        assert tried not in timed
        assert tried.bytes < min(shape.bytes for shape in timed)
        assert dataclasses.is_dataclass(tried)
