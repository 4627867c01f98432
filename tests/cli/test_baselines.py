"""`ratchet baselines`: seed and baselines in one run, a record each, paired with the seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from results.record import read_record
from tests.cli.test_cli import ratchet


@pytest.mark.sandbox
@pytest.mark.slow
def test_every_program_gets_a_record_that_is_paired_with_the_seeds(tmp_path: Path) -> None:
    words = [
        "--quick",
        "--split",
        "search",
        "--skip",
        "triton_",
        "--skip",
        "compiled",
        "--out",
        str(tmp_path),
        "--json",
    ]
    done = ratchet("baselines", "topk_gating", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    programs = json.loads(done.stdout)["programs"]
    assert [p["name"] for p in programs] == ["seed", "numba_"]
    seed, numba = (read_record(Path(p["record"])) for p in programs)
    assert seed.best.units.keys() == numba.best.units.keys()
    # The seed against itself is 1, whatever the machine did meanwhile.
    assert (seed.gain, seed.gain_is_ratio) == (1.0, True)
    assert numba.seed == seed.best
    assert numba.gain_interval is not None
    assert numba.gain_interval[0] <= numba.gain <= numba.gain_interval[1]


def test_a_wrong_name_is_one_line() -> None:
    done = ratchet("baselines", "softmaxx")
    assert done.returncode == 2
    assert "did you mean 'softmax'" in done.stderr
