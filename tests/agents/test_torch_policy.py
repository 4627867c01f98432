"""The torch sampler: what it says of its own tokens is true, whatever shares the batch and whatever adapter is on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from agents.models.adapters import PREFIX, Adapter, AdapterError, tensors_of
from agents.models.policy import batches, uniforms
from agents.models.torch_local import LocalModel
from agents.models.torch_policy import TorchPolicy, drawn

pytestmark = pytest.mark.model
Make = Callable[..., Adapter]
TOLERANCE = 1e-4
"""Nats; what the order of sums in float32 does, several times over."""


@pytest.fixture
def policy(exact: LocalModel) -> TorchPolicy:
    exact.wear(None)
    return TorchPolicy(exact)


def by_hand(
    model: LocalModel, prompt: tuple[int, ...], tokens: tuple[int, ...], temperature: float = 1.0
) -> list[float]:
    """One plain forward pass, no cache, no padding."""
    with torch.inference_mode():
        logits = model.network(torch.tensor([[*prompt, *tokens]])).logits[0] / temperature
    rows = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    return [float(row[token]) for row, token in zip(rows, tokens, strict=True)]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_those_of_the_draw(policy: TorchPolicy, exact: LocalModel, temperature: float) -> None:
    groups = policy.sample(
        ["The sky is", "Once upon a time there was a"], 2, max_tokens=8, temperature=temperature, seed=5
    )
    for completion in (c for group in groups for c in group):
        expected = by_hand(exact, completion.prompt, completion.tokens, temperature)
        assert completion.logprobs == pytest.approx(expected, abs=TOLERANCE)


def test_a_draw_depends_on_its_seed_and_not_on_the_batch(policy: TorchPolicy) -> None:
    together = policy.sample(["The sky is", "My name is"], 3, max_tokens=6, seed=2)
    assert [c.tokens for c in policy.sample(["The sky is"], 3, max_tokens=6, seed=2)[0]] == [
        c.tokens for c in together[0]
    ]
    assert len({c.tokens for c in together[0]}) > 1
    assert [c.tokens for c in policy.sample(["The sky is"], 3, max_tokens=6, seed=3)[0]] != [
        c.tokens for c in together[0]
    ]


def test_an_answer_ends_with_the_end_of_turn_token(policy: TorchPolicy) -> None:
    asked = policy.encode_chat([{"role": "user", "content": "Say only: yes"}])
    answers = policy.sample([asked], 6, max_tokens=12, seed=1)[0]
    assert {c.finished for c in answers} == {True, False}
    for answer in answers:
        assert (answer.tokens[-1] == 2) == answer.finished
        assert 2 not in answer.tokens[:-1]
        assert answer.finished or len(answer.tokens) == 12


def test_greedy_is_what_transformers_generates(policy: TorchPolicy, exact: LocalModel) -> None:
    prompt = policy.encode_chat([{"role": "user", "content": "What is the capital of France?"}])
    [[found]] = policy.sample([prompt], 1, max_tokens=10, temperature=0)
    wanted = exact.chat_encoded([prompt], 10)[0]
    assert (found.text.strip(), len(found.tokens)) == (wanted.text, wanted.completion_tokens)


def test_scores_are_those_of_a_plain_pass(policy: TorchPolicy, exact: LocalModel) -> None:
    pairs = [
        ("The sky is", (4461,)),
        ("The sky is", (253, 2798, 30)),
        ("A much longer prompt, to be padded against", (5, 6)),
        ("x", ()),
    ]
    for (prompt, tokens), found in zip(pairs, policy.score(pairs), strict=True):
        assert found == pytest.approx(by_hand(exact, tuple(policy.encode(prompt)), tokens), abs=TOLERANCE)


def test_a_choice_is_drawn_with_the_probabilities_it_names(policy: TorchPolicy) -> None:
    """A common first token, an option inside another: each probability by masked decoding, one pass a node."""
    prompt, options = "The opposite of hot is", [" cold", " cold water", " warm"]
    [choice] = policy.choose([prompt], [options], seed=4)
    ids = policy.encode(prompt)
    cold, water, warm = (policy.encode(text)[-1] for text in options)
    [[at_cold], [at_warm]] = policy.score([(ids, [cold]), (ids, [warm])])
    [[at_end], [at_water]] = policy.score([([*ids, cold], [2]), ([*ids, cold], [water])])
    first, second = (
        np.exp(at_cold) / (np.exp(at_cold) + np.exp(at_warm)),
        np.exp(at_end) / (np.exp(at_end) + np.exp(at_water)),
    )
    assert np.exp(choice.logprobs) == pytest.approx([first * second, first * (1 - second), 1 - first], abs=1e-5)
    many = policy.choose([prompt] * 40, [options] * 40, temperature=5.0, seed=9)
    assert {c.index for c in many} == {0, 1, 2}
    assert policy.choose([prompt], [options], temperature=0)[0].index == int(np.argmax(choice.logprobs))


def test_an_adapter_computes_what_the_paper_says(policy: TorchPolicy, exact: LocalModel, make: Make) -> None:
    """W + (alpha / rank) B A put into a copy of the weights gives the same log-probabilities; taking it off, the old ones."""
    pairs = [("The sky is", (253, 2798, 30)), ("My name is", (5, 6, 7))]
    before, adapter = policy.score(pairs), make(1)
    untouched = {name: value.clone() for name, value in exact.network.state_dict().items()}
    policy.load_adapter(adapter.sha)
    worn = policy.score(pairs)
    policy.load_adapter(None)
    assert exact.network.state_dict().keys() == untouched.keys()
    assert all(torch.equal(value, untouched[name]) for name, value in exact.network.state_dict().items())
    tensors, scale = tensors_of(adapter), adapter.alpha / adapter.rank
    state = exact.network.state_dict()
    old = {}
    try:
        for name in (n for n in tensors if "lora_A" in n):
            module = name.removesuffix(".lora_A.weight")
            key = module.removeprefix(PREFIX) + ".weight"
            old[key] = state[key].clone()
            state[key] += scale * torch.from_numpy(tensors[f"{module}.lora_B.weight"] @ tensors[name])
        merged = policy.score(pairs)
    finally:
        for key, value in old.items():
            state[key].copy_(value)
    assert np.concatenate(worn) == pytest.approx(np.concatenate(merged), abs=TOLERANCE)
    assert np.abs(np.concatenate(worn) - np.concatenate(before)).max() > 0.01


def test_a_refused_adapter_changes_nothing(policy: TorchPolicy, make: Make) -> None:
    good, bad = make(1), make(2)
    (bad.path / "adapter_model.safetensors").write_bytes(b"")
    policy.load_adapter(good.path)
    before = policy.score([("The sky is", (4461,))])
    with pytest.raises(AdapterError):
        policy.load_adapter(bad.path)
    assert policy.adapter == good.sha
    assert policy.score([("The sky is", (4461,))])[0] == pytest.approx(before[0], abs=TOLERANCE)
    policy.load_adapter(None)


@pytest.mark.parametrize(
    "bad",
    [
        {"n": 0},
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"prompts": [""]},
        {"max_tokens": 8192},
    ],
)
def test_requests_that_make_no_sense(policy: TorchPolicy, bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"at least|a prompt has"):
        policy.sample(**{"prompts": ["a"], "n": 1, "max_tokens": 2, **bad})  # type: ignore[arg-type]


def test_draws_follow_the_distribution_at_its_edges() -> None:
    logprobs = torch.log(torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]))
    chances = {0.0: 1, 0.2499: 1, 0.2501: 3, 0.999999999: 3}
    assert {u: int(drawn(logprobs, torch.tensor([u], dtype=torch.float64))[0]) for u in chances} == chances


def test_batches_hold_every_row_once_and_keep_their_bounds() -> None:
    rng = np.random.default_rng(0)
    lengths, new = rng.integers(1, 300, 200).tolist(), rng.integers(1, 60, 200).tolist()
    made = list(batches(lengths, new, cache=2000, logits=150))
    assert sorted(row for batch in made for row in batch) == list(range(200))
    for batch in made:
        assert len(batch) * max(lengths[r] + new[r] for r in batch) <= 2000
        assert len(batch) * max(new[r] for r in batch) <= 150
    assert list(batches([5000], [1], cache=2000)) == [[0]]


def test_uniform_numbers_belong_to_their_place() -> None:
    assert np.array_equal(uniforms(1, 3, 2, 5)[:4], uniforms(1, 2, 2, 5))
    assert np.array_equal(uniforms(1, 3, 2, 5)[:, :3], uniforms(1, 3, 2, 3))
