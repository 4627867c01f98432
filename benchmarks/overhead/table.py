"""Print the tables of `docs/performance.md` from measured files.

python -m benchmarks.overhead.table results/published/overhead/round_trip.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.overhead.figures import Figure, Figures

TITLES = {
    "round_trip": "one candidate, milliseconds",
    "two_at_once": "candidates per second, two at once",
    "exec_in_reused_container": "`true` in a container that is already there, milliseconds",
}


def shown(value: float, row: Figure) -> str:
    """Milliseconds to three digits or whole, or a rate with two decimals."""
    if row.unit == "candidates/s":
        return f"{value:.2f}"
    return f"{value * 1000:.0f}" if value >= 0.1 else f"{value * 1000:.3g}"


def table(rows: list[Figure]) -> str:
    """One Markdown table, quickest first."""
    lines = [
        "| way | p50 | p99 | slowest | N | ratio to the first of its kind [95 %] |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda r: r.p50, reverse=rows[0].unit == "candidates/s"):
        low, high = row.ratio_interval
        p99 = shown(row.p99, row) if row.p99 is not None else "–"
        slow = row.least if row.unit == "candidates/s" else row.most
        lines.append(
            f"| {row.way} | {shown(row.p50, row)} | {p99} | {shown(slow, row)} | {row.n} | "
            f"{row.ratio:.3g} [{low:.3g}, {high:.3g}] |"
        )
    return "\n".join(lines)


def main() -> None:
    """Every file's tables, one for each thing measured and workload."""
    for path in map(Path, sys.argv[1:]):
        groups: dict[tuple[str, str], list[Figure]] = {}
        for row in Figures.model_validate_json(path.read_bytes()).figures:
            groups.setdefault((row.what, row.program), []).append(row)
        for (what, program), rows in groups.items():
            reference = next(row.way for row in rows if row.ratio == 1.0)
            text = table(rows).replace("the first of its kind", f"`{reference}`")
            print(f"**{TITLES[what]}, {program}**\n\n{text}\n")


if __name__ == "__main__":
    main()
