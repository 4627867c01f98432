"""What the runs of the experiment say: a table, the effects with their p-values, a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registry import task as find
from benchmarks.task import Score
from feedback.experiments.arms import ARMS, run_name
from feedback.experiments.figures import interval
from results.provenance import provenance
from results.stats import sign_flip
from results.store import write_atomically
from training.rewards import gain

PUBLISHED = Path("results") / "published" / "experiment-cpu"
BOTH = tuple(name for name in ARMS if name.startswith("H+W"))


def read(work: Path, tasks: Sequence[str], arms: Sequence[str], seeds: int) -> dict[tuple[str, int], dict[str, Any]]:
    """For each task and seed whose report is there: run and report gain of each arm."""
    found = {}
    for task in map(find, tasks):
        for seed in range(seeds):
            file = work / task.name / f"report-{seed}.json"
            if not file.exists():
                continue
            told = json.loads(file.read_text())
            scores = {sha: Score.model_validate(s) for sha, s in told["scores"].items()}
            base, row = scores[told["seed_program"]], {}
            for arm in arms:
                kept = work / task.name / f"{run_name(arm, seed)}.json"
                if not kept.exists():  # Not every arm was asked for on every task.
                    continue
                run = json.loads(kept.read_text())
                score = scores.get(run["sha"])
                if score is None or not base.ok:
                    continue
                # A best program that fails on the report split is worth what it started from, no more.
                worth = gain(task, score, base) if score.ok else 0.0
                row[arm] = {**run, "report": score.value, "report_verdict": score.verdict.value, "gain": worth}
            found[task.name, seed] = {"seed program": base.value, "arms": row}
    return found


def effects(found: dict[tuple[str, int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Each arm with both levers against H and against W: paired differences of gains over tasks and seeds.

    p is one-sided, of "no better", by sign flips over all pairs; with n pairs it can't be less than 1 / 2^n.
    """
    rows = []
    for both in BOTH:
        for alone in ("H", "W", "random", "Optuna"):
            pairs = [
                (task, row["arms"][both]["gain"] - row["arms"][alone]["gain"])
                for (task, _), row in found.items()
                if both in row["arms"] and alone in row["arms"]
            ]
            if pairs:
                values = [d for _, d in pairs]
                by_task = {
                    t: float(np.mean([d for u, d in pairs if u == t])) for t in dict.fromkeys(t for t, _ in pairs)
                }
                rows.append({"both": both, "against": alone, **interval(values), "p": sign_flip(values), "by_task": by_task,
                             "wins": sum(d > 0 for d in values), "losses": sum(d < 0 for d in values)})  # fmt: skip
    return rows


def figures(found: dict[tuple[str, int], dict[str, Any]]) -> dict[str, Any]:
    """Per task and arm, over seeds: gain and value on the report split, cost, how often each lever was pulled."""
    told: dict[str, Any] = {}
    for task in dict.fromkeys(t for t, _ in found):
        rows = [row for (t, _), row in found.items() if t == task]
        told[task] = {"seed program": interval([r["seed program"] for r in rows]), "arms": {}}
        for arm in dict.fromkeys(a for r in rows for a in r["arms"]):
            runs = [r["arms"][arm] for r in rows if arm in r["arms"]]
            ok = [r["report"] for r in runs if r["report"] is not None]
            told[task]["arms"][arm] = {
                "gain": interval([r["gain"] for r in runs]), "report": interval(ok) if ok else None,
                "candidates": float(np.mean([r["spent"]["candidates"] for r in runs])),
                "seconds": interval([r["spent"]["seconds"] for r in runs]),
                "harness": sum(r["levers"].count("harness") for r in runs),
                "weights": sum(r["levers"].count("weights") for r in runs),
                "kept": sum(g > 0 for r in runs for g in r["gains"]),
            }  # fmt: skip
    return told


def publish(work: Path, tasks: Sequence[str], arms: Sequence[str], seeds: int, out: Path | None = None) -> str:
    """Write the record and the picture; returns the table in words."""
    found = read(work, tasks, arms, seeds)
    if not found:
        return "nothing is done yet"
    folder = out or PUBLISHED
    told, against = figures(found), effects(found)
    record = {
        "what": "harness, weights, both, random search and Optuna with equal numbers of scored candidates",
        "made": datetime.now(UTC).isoformat(timespec="seconds"), "arms": {a: ARMS[a].what for a in arms},
        "setup": {task: next(iter(row["arms"].values()))["setup"] for (task, _), row in found.items()},
        "provenance": provenance().model_dump(mode="json"), "figures": told, "effects": against,
        "runs": [
            {"task": task, "seed": seed, "seed_program": row["seed program"], **{
                arm: {k: v for k, v in run.items() if k != "source"} for arm, run in row["arms"].items()
            }}
            for (task, seed), row in found.items()
        ],
        "programs": {run["sha"]: run["source"] for row in found.values() for run in row["arms"].values()},
    }  # fmt: skip
    write_atomically(folder / "experiment.json", json.dumps(record, indent=1, allow_nan=False).encode())
    picture(told, folder / "experiment.png")
    return table(told, against)


def table(told: dict[str, Any], against: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| task | arm | gain over the seed program | report split | seconds | harness / weights pulled | kept |",
        "| - " * 7 + "|",
    ]
    for task, found in told.items():
        lines.append(f"| {task} | seed program | 0 | {_shown(found['seed program'])} | | | |")
        for arm, f in found["arms"].items():
            lines.append(
                f"| {task} | {arm} | {_shown(f['gain'])} | {_shown(f['report'])} | {f['seconds']['mean']:.0f} | "
                f"{f['harness']} / {f['weights']} | {f['kept']} |"
            )
    lines += ["", "| both levers | against | difference of gains | pairs | wins / losses | p |", "| - " * 6 + "|"]
    for e in against:
        lines.append(
            f"| {e['both']} | {e['against']} | {_shown(e)} | {e['n']} | {e['wins']} / {e['losses']} | {e['p']:.3g} |"
        )
    return "\n".join(lines)


def _shown(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    if found["interval"] is None:
        return f"{found['mean']:.4g}"
    low, high = found["interval"]
    return f"{found['mean']:.4g} [{low:.4g}, {high:.4g}]"


def picture(told: dict[str, Any], file: Path) -> None:
    """Gain over the seed program by arm, one panel a task, with intervals over seeds. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(told), figsize=(4.2 * len(told), 3.6), squeeze=False)
    for axis, (task, found) in zip(axes[0], told.items(), strict=True):
        for i, (arm, f) in enumerate(found["arms"].items()):
            low, high = f["gain"]["interval"] or (f["gain"]["mean"],) * 2
            colour = "tab:red" if arm.startswith("H+W") else "tab:blue"
            axis.errorbar(f["gain"]["mean"], -i, xerr=[[f["gain"]["mean"] - low], [high - f["gain"]["mean"]]], fmt="o",
                          color=colour, capsize=3)  # fmt: skip
        axis.set_yticks([-i for i in range(len(found["arms"]))], list(found["arms"]))
        axis.axvline(0, color="grey", linewidth=0.5)
        axis.set_title(f"{task} (n = {next(iter(found['arms'].values()))['gain']['n']})")
        axis.set_xlabel("gain over the seed program, report split")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": ""})
    plt.close(figure)
