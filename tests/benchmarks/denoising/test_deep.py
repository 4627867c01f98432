"""The deep baselines train for real, in their own image. It takes 2 GB and minutes to build, so it is not built for this."""

from __future__ import annotations

import dataclasses

import pytest
from docker.errors import ImageNotFound

from benchmarks.denoising import data
from benchmarks.denoising.score import TASK
from benchmarks.task import Bench, Candidate, Split, Verdict
from sandboxes import images
from sandboxes.base import SandboxFactory, UserError

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


def built(factory: SandboxFactory) -> bool:
    try:
        if factory.name == "docker":
            factory.client.images.get(images.docker_tag("scvi"))  # type: ignore[attr-defined]
        else:
            images.tree("scvi")
    except (ImageNotFound, UserError):
        return False
    return True


BEGIN = "    scvi.settings.seed = 0\n"
STOP_EARLY = """
    from lightning.pytorch import Trainer
    Trainer.interrupted = property(lambda trainer: True)
"""


@pytest.mark.parametrize("name", ["scvi", "nb_autoencoder"])
def test_a_deep_baseline_beats_the_mean_cell(name: str, sandboxes: SandboxFactory, bench: Bench) -> None:
    if not built(sandboxes):
        pytest.skip("image scvi is not built; run `ratchet images build scvi` (2 GB, minutes)")
    data.fetch(print)
    deep, mean_cell = TASK.score([TASK.baseline(name), TASK.baseline("library_mean")], Split.SEARCH, 1, bench)
    assert deep.verdict is Verdict.OK, deep.reason
    assert deep.value is not None and mean_cell.value is not None
    assert deep.value < mean_cell.value
    assert deep.secondary["poisson_norm"] > 0.5


def test_a_model_whose_training_was_interrupted_is_not_scored(sandboxes: SandboxFactory, bench: Bench) -> None:
    if not built(sandboxes):
        pytest.skip("image scvi is not built; run `ratchet images build scvi` (2 GB, minutes)")
    data.fetch(print)
    source = TASK.baseline("nb_autoencoder").source
    assert BEGIN in source
    short = source.replace("EPOCHS, CELLS = 1500, 400, 128", "EPOCHS, CELLS = 3, 1, 128")
    stopped = Candidate(name="stopped", source=short.replace(BEGIN, BEGIN + STOP_EARLY))
    quick = dataclasses.replace(bench, quick=True)
    whole, cut = TASK.score([Candidate(name="short", source=short), stopped], Split.SEARCH, 1, quick)
    assert whole.verdict is Verdict.OK, whole.reason
    assert cut.verdict is Verdict.CRASH
    assert "training was interrupted" in cut.reason
