"""A choice among given texts as a small model can make it: token by token, and only where it can still be valid.

The options form a trie of tokens. At a node with several children the model's distribution is restricted to them and
renormalised; where there is one child nothing is drawn. Where an option ends and another goes on, the end-of-turn token
is one of the children. The probability of an option is the product over its nodes, so the probabilities of all options
sum to one, and they are exactly those of constrained sampling, not an estimate. (They are not the renormalised
probabilities of the whole texts: that other distribution can't be drawn from token by token.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from agents.models.policy import Choice, Prompt, Scored

Tokens = tuple[int, ...]


def paths(options: Sequence[Sequence[int]], end: int) -> tuple[list[Tokens], list[tuple[Tokens, ...]]]:
    """For each option its path through the trie, and the ids allowed at each position of the path.

    Raises ValueError for no options, an empty option, or two that are the same tokens.
    """
    plain = [tuple(option) for option in options]
    if not plain or not all(plain) or len(set(plain)) != len(plain):
        raise ValueError("options must be one or more different texts, none of them empty")
    # An end is needed only where another option goes on.
    made = [p + ((end,) if any(q[: len(p)] == p and len(q) > len(p) for q in plain) else ()) for p in plain]
    children: dict[Tokens, set[int]] = {}
    for path in made:
        for i, token in enumerate(path):
            children.setdefault(path[:i], set()).add(token)
    allowed = [tuple(tuple(sorted(children[path[:i]])) for i in range(len(path))) for path in made]
    if len(set(made)) != len(made):
        raise ValueError("an option may not hold the end-of-turn token")
    return made, allowed


def option_logprobs(
    made: Sequence[Tokens], scored: Sequence[Sequence[float]], temperature: float = 1.0
) -> tuple[float, ...]:
    """Log-probability of each path under constrained sampling, from the model's log-probabilities along all paths.

    `scored[k][i]` is log p(made[k][i] | prompt, made[k][:i]) over the whole vocabulary, in nats. The siblings at a node are
    tokens of other paths, so nothing else of the model's output is needed. Temperature 0 reads the values at 1.
    """
    heat = temperature if temperature > 0 else 1.0
    at: dict[Tokens, float] = {}
    children: dict[Tokens, set[Tokens]] = {}
    for path, values in zip(made, scored, strict=True):
        for i, value in enumerate(values):
            at[path[: i + 1]] = value / heat
            children.setdefault(path[:i], set()).add(path[: i + 1])

    def log_total(node: Tokens) -> float:
        values = [at[child] for child in children[node]]
        top = max(values)
        return top + math.log(sum(math.exp(v - top) for v in values))

    totals = {node: log_total(node) for node, below in children.items() if len(below) > 1}
    return tuple(
        sum(at[path[: i + 1]] - totals[path[:i]] for i in range(len(path)) if path[:i] in totals) for path in made
    )


def drawn(logprobs: Sequence[float], temperature: float, uniform: float) -> int:
    """The option that `uniform` in [0, 1) falls on; the likeliest at temperature 0."""
    if temperature == 0:
        return int(np.argmax(logprobs))
    edges = np.cumsum(np.exp(logprobs))
    return min(int(np.searchsorted(edges, uniform * edges[-1], side="right")), len(logprobs) - 1)


def choose_by_score(
    score: Callable[[Sequence[Scored]], list[tuple[float, ...]]],
    encode: Callable[[str], list[int]],
    end: int,
    prompts: Sequence[Prompt],
    options: Sequence[Sequence[str]],
    *,
    temperature: float,
    seed: int,
) -> list[Choice]:
    """`Policy.choose` for a sampler that can score given tokens. `end` is the end-of-turn token."""
    asked = [tuple(encode(p) if isinstance(p, str) else p) for p in prompts]
    given = [paths([encode(text) for text in texts], end) for texts in options]
    pairs = [(prompt, path) for prompt, (made, _) in zip(asked, given, strict=True) for path in made]
    scored = iter(score(pairs))
    choices = []
    for i, (prompt, (made, allowed)) in enumerate(zip(asked, given, strict=True)):
        logprobs = option_logprobs(made, [next(scored) for _ in made], temperature)
        index = drawn(logprobs, temperature, float(np.random.default_rng([seed, i]).random()))
        choices.append(Choice(index, prompt, made[index], allowed[index], logprobs))
    return choices
