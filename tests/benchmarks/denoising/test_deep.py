"""The deep baselines train for real, in their own image. It takes 2 GB and minutes to build, so it is not built for this."""

from __future__ import annotations

import pytest
from docker.errors import ImageNotFound

from benchmarks.denoising import data
from benchmarks.denoising.score import TASK
from benchmarks.task import Bench, Split, Verdict
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
