"""Draw a record: which charges are taken for which, how sure the program is and how often right, and what data is worth.

    python -m benchmarks.lawbench.pictures RECORD.json             # confusions, and calibration when there is one
    python -m benchmarks.lawbench.pictures RECORD.json --learning  # and accuracy against the number of training cases

PNG files are written beside the record, and their names into it. The learning curve runs the record's program anew, in
sandboxes, on the search split, so that the report split is scored no more often than the record says. Charges are written
with a Chinese font where the machine has one, else as #place in the list of charges. Needs matplotlib (`pip install
'ratchet-bench[plots]'`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.lawbench import data
from benchmarks.lawbench.score import LawBench
from benchmarks.task import Bench, Candidate, Split
from results.record import Record, read_record, write_record
from sandboxes.base import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
)
SHARES = (0.1, 0.25, 0.5, 1.0)
TOP_ERRORS = 20
LONGEST_NAME = 14
DPI = 110


@dataclass(frozen=True)
class Point:
    """One point of a learning curve."""

    cases: int
    accuracy: float
    interval: tuple[float, float]


class LessTraining(LawBench):
    """`lawbench` with a share of each charge's training cases, for the search split only."""

    def __init__(self, share: float) -> None:
        self.share = share

    def law(self) -> data.LawData:
        """See `LawBench.law`."""
        law = data.load()
        train = thinned(law.train, self.share)
        return data.LawData(law.charges, train, law.search, report=(), train_for_report=())


def thinned(cases: Sequence[data.Case], share: float) -> tuple[data.Case, ...]:
    """The first `share` of each charge's cases, at least one, so that a larger share contains a smaller one."""
    by_charge: dict[str, list[data.Case]] = {}
    for case in cases:
        by_charge.setdefault(case.charge, []).append(case)
    return tuple(case for own in by_charge.values() for case in own[: max(1, round(len(own) * share))])


def learning_curve(candidate: Candidate, bench: Bench, shares: Sequence[float] = SHARES) -> list[Point]:
    """Accuracy on the search split after learning from growing parts of the training cases. Raises UserError."""
    points = []
    for share in shares:
        task = LessTraining(share)
        count = len(task.law().train)
        bench.progress(f"learning from {count} cases")
        [score] = task.score([candidate], Split.SEARCH, 0, bench)
        if not score.ok or score.value is None or score.interval is None:
            raise UserError(f"{candidate.name} with {count} training cases: {score.verdict.value}: {score.reason}")
        points.append(Point(count, score.value, score.interval))
    return points


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("pictures need matplotlib; run `pip install 'ratchet-bench[plots]'`") from error
    matplotlib.use("Agg")
    from matplotlib import font_manager, pyplot

    here = {font.name for font in font_manager.fontManager.ttflist}
    found = [font for font in FONTS if font in here][:1]
    matplotlib.rcParams["font.family"] = [*found, "DejaVu Sans"]
    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    return figure, axes


def chinese_font() -> bool:
    """True when this machine has a font that the charges can be written with."""
    from matplotlib import font_manager

    return bool({font.name for font in font_manager.fontManager.ttflist} & set(FONTS))


def _named(charge: str, names: Sequence[str]) -> str:
    if not charge:
        return "(abstained)"
    if not chinese_font():
        return f"#{names.index(charge)}" if charge in names else "#?"
    return charge if len(charge) <= LONGEST_NAME else charge[: LONGEST_NAME - 1] + "…"


def draw_confusions(record: Record, names: Sequence[str]) -> Figure:
    """The most frequent errors, as bars: the charge that was brought, and the one that was answered."""
    rows = record.best.tables["confusions"][:TOP_ERRORS]
    figure, axes = _figure(8, 0.4 + 0.32 * max(4, len(rows)))
    labels = [f"{_named(str(row['charge']), names)} → {_named(str(row['answer']), names)}" for row in rows]
    axes.barh(range(len(rows)), [float(row["cases"]) for row in rows], color="#b2542d")
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"cases of {record.best.n}")
    axes.set_title(f"{record.task}, {record.best.name}: most frequent errors (charge → answer)", fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def draw_reliability(record: Record) -> Figure:
    """How often the program is right when it says that it is so sure; on the diagonal it is calibrated."""
    rows = record.best.tables["reliability"]
    figure, axes = _figure(4.6, 4.4)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    sizes = [15 + float(row["cases"]) for row in rows]
    axes.scatter([row["confidence"] for row in rows], [row["accuracy"] for row in rows], s=sizes, color="#2d6db2")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean probability of the first answer", ylabel="share that is right")
    axes.set_title(f"{record.task}, {record.best.name}: ECE {record.best.secondary['ece']:.3f}", fontsize=9)
    return figure


def draw_learning(points: Sequence[Point], name: str) -> Figure:
    """Accuracy against the number of training cases, with 95 % intervals."""
    figure, axes = _figure(5.2, 3.8)
    below = [p.accuracy - p.interval[0] for p in points]
    above = [p.interval[1] - p.accuracy for p in points]
    axes.errorbar([p.cases for p in points], [p.accuracy for p in points], yerr=[below, above], marker="o", capsize=3)
    axes.set_xscale("log")
    axes.set_xticks([p.cases for p in points], [str(p.cases) for p in points])
    axes.minorticks_off()
    axes.set(xlabel="training cases", ylabel="top-1 accuracy (search split)")
    axes.set_title(f"lawbench, {name}: what data is worth", fontsize=9)
    axes.grid(alpha=0.3)
    return figure


def illustrate(path: Path, points: Sequence[Point] = ()) -> list[Path]:
    """Write a record's pictures beside it and their names into it; returns the files. Raises UserError."""
    record = read_record(path)
    if "confusions" not in record.best.tables:
        raise UserError(
            f"{path} has no table of confusions: score the report split with `ratchet score {record.task} FILE`"
        )
    drawn = {"confusions": draw_confusions(record, data.published_files().charges)}
    if "reliability" in record.best.tables:
        drawn["calibration"] = draw_reliability(record)
    if points:
        drawn["learning"] = draw_learning(points, record.best.name)
    files = []
    for kind, figure in drawn.items():
        files.append(path.with_name(f"{path.stem}-{kind}.png"))
        # Without the version of matplotlib in it, the same record gives the same file.
        figure.savefig(files[-1], dpi=DPI, metadata={"Software": None})
    names = sorted({*record.pictures, *(file.name for file in files)})
    write_record(record.model_copy(update={"pictures": names}), path)
    return files


def main(words: Sequence[str], say: Callable[[str], None]) -> None:
    """Draw the records named."""
    for path in (Path(word) for word in words if not word.startswith("-")):
        points: list[Point] = []
        if "--learning" in words:
            from sandboxes.backends import choose_backend
            from sandboxes.images import build

            factory = choose_backend("auto")
            build(factory, LawBench.image, say)
            best = read_record(path).best
            points = learning_curve(Candidate(source=best.source, name=best.name), Bench(factory, progress=say))
            for point in points:
                print(
                    f"{point.cases} training cases: {point.accuracy:.4f} [{point.interval[0]:.4f}, {point.interval[1]:.4f}]"
                )
        for file in illustrate(path, points):
            print(file)


if __name__ == "__main__":
    try:
        main(sys.argv[1:], lambda message: print(message, file=sys.stderr))
    except UserError as error:
        raise SystemExit(f"pictures: {error}") from None
