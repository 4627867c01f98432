"""Draw a record: error by expression level, and the populations before and after, as PNG beside it.

    python -m benchmarks.denoising.pictures results/published/denoising-cpu/denoising-facs-svd.json

Everything drawn stands in the record's tables, so a picture can be made again from the record alone; the record then
names its pictures. Needs matplotlib (`pip install 'ratchet-bench[plots]'`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from results.record import Record, read_record, write_record
from sandboxes.base import UserError


def draw(path: Path) -> list[Path]:
    """Write the pictures of the record at `path` beside it and name them in it. Raises UserError."""
    try:
        record = read_record(path)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a record: {str(error).splitlines()[0]}") from error
    tables = record.best.tables
    if "mse by level" not in tables:
        raise UserError(f"{path} has no tables to draw; score a denoiser on the report split for one that has")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("pictures need matplotlib; run `pip install 'ratchet-bench[plots]'`") from error
    made = [path.with_name(f"{path.stem}-levels.png")]
    _levels(Figure, record, tables["mse by level"]).savefig(made[0], dpi=110, metadata={"Software": None})
    if tables.get("map"):
        made.append(path.with_name(f"{path.stem}-populations.png"))
        _populations(Figure, record, tables["map"]).savefig(made[1], dpi=110, metadata={"Software": None})
    write_record(record.model_copy(update={"pictures": [picture.name for picture in made]}), path)
    return made


def _levels(figure: Any, record: Record, rows: Sequence[dict[str, Any]]) -> Any:
    made = figure(figsize=(6.4, 3.8), layout="constrained")
    axes = made.add_subplot()
    centre = [max(1e-3, (row["least_cp10k"] + row["most_cp10k"]) / 2) for row in rows]
    axes.plot(centre, [row["mse_none"] for row in rows], "o-", color="0.6", label="training counts as they are")
    axes.plot(centre, [row["mse"] for row in rows], "o-", color="tab:blue", label=record.best.name)
    axes.set(xscale="log", yscale="log", xlabel="expression of the gene (counts per 10,000)")
    axes.set_ylabel(f"mean squared error\n({record.unit.split()[0]})")
    axes.set_title(f"{record.task}: error by expression level, genes in {len(rows)} equal groups", fontsize=10)
    axes.legend(frameon=False)
    return made


def _populations(figure: Any, record: Record, rows: Sequence[dict[str, Any]]) -> Any:
    made = figure(figsize=(8.6, 4.0), layout="constrained")
    kinds = sorted({row["population"] for row in rows})
    for place, when in enumerate(("before", "after")):
        axes = made.add_subplot(1, 2, place + 1)
        for number, kind in enumerate(kinds):
            some = [row for row in rows if row["population"] == kind]
            axes.scatter(
                [row[f"{when}_1"] for row in some], [row[f"{when}_2"] for row in some], s=4, color=f"C{number}",
                label=None if kind == "-" else kind,
            )  # fmt: skip
        axes.set(xlabel="first component", ylabel="second component", xticks=[], yticks=[])
        axes.set_title("training counts" if when == "before" else record.best.name, fontsize=10)
        if place and kinds != ["-"]:
            axes.legend(frameon=False, markerscale=3, fontsize=8)
    return made


def main(words: Sequence[str]) -> int:
    """Draw each record named; 2 and one line for a mistake."""
    if not words:
        print("usage: python -m benchmarks.denoising.pictures RECORD.json ...", file=sys.stderr)
        return 2
    try:
        print(json.dumps([str(picture) for word in words for picture in draw(Path(word))], indent=1))
    except UserError as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
