"""The smoke case of the law tasks: cases that never were, in words that no court uses together."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lawbench import predictions
from benchmarks.lawbench.sheet import fresh_names, lines
from benchmarks.program import Job, run_program
from benchmarks.smoke import SMOKE_SEED, smoked
from benchmarks.task import Bench, Candidate, Score, Task

CHARGES = 8
ROWS_EACH = 12
CASES = 8
TOKENS = 200_000
"""The scripted model counts a byte as a token, and running out of them is no matter of form."""
STEMS = "甲乙丙丁戊己庚辛壬癸"
BEASTS = "鼠牛虎兔龙蛇马羊猴鸡狗猪"
COLOURS = "红橙黄绿青蓝紫灰"
CLAUSES = (
    "{0}星的{1}骑着{2}色的云，",
    "把{0}颗{2}豆子数成{1}的影子；",
    "{1}对{1}念了{0}遍{2}月亮的谜语，",
    "谁也没有听见{2}色{0}号风铃里的{1}在唱歌。",
)


def made_up(charges: Sequence[str]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Training rows and cases to label. Of the task there is nothing in them but names of charges.

    Each charge has a beast and a colour of its own, so that there is something to learn.
    """
    rng = random.Random(SMOKE_SEED)
    known = list(charges[:CHARGES])

    def text(number: int) -> str:
        told = [
            clause.format(rng.choice(STEMS), BEASTS[number], COLOURS[number])
            for clause in rng.choices(CLAUSES, k=rng.randint(3, 6))
        ]
        return "".join(told)

    rows: list[dict[str, object]] = [
        {"text": text(number), "charge": charge} for number, charge in enumerate(known) for _ in range(ROWS_EACH)
    ]
    rng.shuffle(rows)
    cases: list[dict[str, object]] = [
        {"id": name, "text": text(rng.randrange(len(known)))} for name in fresh_names(CASES, rng)
    ]
    return rows, cases


def smoke(task: Task, guest: Path, output: str, charges: Sequence[str], candidate: Candidate, bench: Bench) -> Score:
    """See `Task.smoke`: answers must parse, one a case, with charges of the list."""
    rows, cases = made_up(charges)
    given = {
        "train.jsonl": lines(rows),
        "cases.jsonl": lines(cases),
        "charges.json": json.dumps(list(charges), ensure_ascii=False).encode(),
    }
    job = Job(
        image=task.image, limits=task.limits, guest=guest, inputs=given, output=output,
        max_output_bytes=predictions.MAX_BYTES, model_tokens=TOKENS, smoke=True,
    )  # fmt: skip
    outcome, wrong = run_program(candidate, job, bench), None
    if outcome.output is not None:
        try:
            predictions.parse(outcome.output, [str(case["id"]) for case in cases], charges)
        except predictions.BadOutput as error:
            wrong = f"{output}: {error}"
    return smoked(outcome, wrong)
