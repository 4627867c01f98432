"""The language model alone: it reads the start of the facts and says a charge in its own words. No training case is used.

Its answer counts as the first charge of the list whose name it contains, the longest first; without one it abstains. One
question after the other, so a slow machine may not get through all: beyond SECONDS it abstains too.
"""

import time

from model import BudgetSpent

SHOWN = 45
SPOKEN = 12
SECONDS = 480.0


def predict(train, cases, charges, model):
    """The charge of each case, in order."""
    answers = [""] * len(cases)
    if model is None:
        return answers
    names = sorted(((c.translate(str.maketrans("", "", "[]")), c) for c in charges), key=lambda pair: -len(pair[0]))
    begun = time.monotonic()
    for place, case in enumerate(cases):
        if time.monotonic() - begun > SECONDS:
            break
        ask = f"案情：{case['text'][:SHOWN]}\n被告人犯了什么罪？只写罪名。"
        try:
            said = model.chat([{"role": "user", "content": ask}], max_tokens=SPOKEN)
        except BudgetSpent:
            break
        answers[place] = next((charge for name, charge in names if name in str(said)), "")
    return answers
