"""Every cheat runs in a real sandbox, and none gets a score."""

from pathlib import Path

import pytest

import benchmarks.kernels
from benchmarks.kernels.trimul.score import TASK
from benchmarks.task import Bench, Candidate, Split, Verdict

CHEATS = {path.stem: path for path in sorted((Path(benchmarks.kernels.__file__).parent / "cheats").glob("*.py"))}
EXPECTED = {
    "busy_child": {Verdict.REWARD_HACK},
    "busy_thread": {Verdict.REWARD_HACK},
    "changed_input": {Verdict.CRASH},
    "forged_verdict": {Verdict.INVALID},
    "hard_exit": {Verdict.INVALID},
    "late_thread": {Verdict.WRONG, Verdict.REWARD_HACK},
    "system_exit": {Verdict.INVALID},
    "unfinished_done": {Verdict.WRONG, Verdict.INVALID, Verdict.REWARD_HACK},
}
"""The verdicts of cheats that fail otherwise than by a wrong answer."""


@pytest.fixture(scope="module")
def verdicts(sandboxes):
    """Every cheat's score, from runs of five at a time."""
    honest = TASK.seed().source.replace("def kernel(", "def honest(")
    cheats = [Candidate(source=f"{honest}\n\n{path.read_text()}", name=name) for name, path in CHEATS.items()]
    scores = TASK.score(cheats, Split.SEARCH, 20_240_917, Bench(sandboxes, quick=True))
    return dict(zip(CHEATS, scores, strict=True))


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_scores_nothing(name, verdicts):
    score = verdicts[name]
    assert score.value is None
    assert score.verdict in EXPECTED.get(name, {Verdict.WRONG}), score.reason
