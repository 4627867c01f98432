"""A training run as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.history import Round

TIMES = ("sampling", "sandbox", "update", "hand_over")


def plot(rounds: Sequence[Round], title: str, file: Path) -> Path | None:
    """Reward and best gain, KL and entropy, valid answers, and where the time went, by round, as a PNG.

    None where matplotlib is not installed, or there is no round.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        return None
    if not rounds:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    numbers = [r.number for r in rounds]
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    (reward, drift), (valid, times) = axes
    figure.suptitle(title)
    reward.plot(numbers, [r.reward for r in rounds], "o-", label="mean reward")
    reward.plot(numbers, [r.best for r in rounds], "s--", label="best gain over the seed")
    drift.plot(numbers, [r.entropy for r in rounds], "o-", label="entropy (nats an action)")
    known = [(r.number, r.kl) for r in rounds if r.kl is not None]
    if known:
        drift.plot(*zip(*known, strict=True), "s--", label="KL to the base (nats)")
    valid.plot(numbers, [r.valid / max(1, r.actions) for r in rounds], "o-", label="share of valid actions")
    valid.set_ylim(0, 1.05)
    below = [0.0] * len(rounds)
    for name in TIMES:
        heights = [r.seconds.get(name, 0.0) for r in rounds]
        times.bar(numbers, heights, bottom=below, label=name.replace("_", " "))
        below = [a + b for a, b in zip(below, heights, strict=True)]
    times.set_ylabel("seconds")
    for axis in (reward, drift, valid, times):
        axis.legend(fontsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in (valid, times):
        axis.set_xlabel("round")
    figure.savefig(file, dpi=120)
    plt.close(figure)
    return file
