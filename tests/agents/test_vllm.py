"""The vLLM sampler against a real server on this machine: it agrees with torch, swaps adapters, and its end is noticed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest

from agents.models.adapters import Adapter, WrongRank
from agents.models.policy import Scored, ServerGone
from agents.models.smollm2 import model_folder
from agents.models.sync import Mismatch, hand_over
from agents.models.torch_local import LocalModel
from agents.models.torch_policy import TorchPolicy
from agents.models.vllm_policy import VllmPolicy
from agents.models.vllm_server import Server, Settings, environment_missing, serving

Make = Callable[..., Adapter]
PROBE: list[Scored] = [("The sky is", (253, 2798, 30)), ("My name is", (5, 6, 7, 8)), ("Once", (5,))]
needs_vllm = pytest.mark.skipif(environment_missing() is not None, reason=str(environment_missing()))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(model_folder(print), Settings(), print) as running:
        yield running


@pytest.fixture
def policy(server: Server) -> Iterator[VllmPolicy]:
    made = VllmPolicy(server.url, model_folder(print))
    yield made
    made.close()


@pytest.fixture
def torch_policy(exact: LocalModel) -> Iterator[TorchPolicy]:
    exact.wear(None)
    yield TorchPolicy(exact)
    exact.wear(None)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ServerGone, match="ratchet serve-model"):
        VllmPolicy("http://127.0.0.1:9", model_folder(print))


@needs_vllm
@pytest.mark.vllm
@pytest.mark.slow
class TestServer:
    """One server for all of them; the last one ends it."""

    def test_it_says_what_torch_says_of_its_own_samples(self, policy: VllmPolicy, torch_policy: TorchPolicy) -> None:
        asked = policy.encode_chat([{"role": "user", "content": "Name a colour."}])
        groups = policy.sample([asked, "The sky is"], 3, max_tokens=8, seed=3)
        pairs = [(c.prompt, c.tokens) for group in groups for c in group]
        for completion, numbers in zip([*groups[0], *groups[1]], torch_policy.score(pairs), strict=True):
            assert completion.logprobs == pytest.approx(numbers, abs=policy.tolerance.match)
            assert completion.finished == (completion.tokens[-1] == 2)
        assert [c.tokens for c in policy.sample([asked], 3, max_tokens=8, seed=3)[0]] == [c.tokens for c in groups[0]]

    def test_logprobs_are_those_at_the_temperature(self, policy: VllmPolicy, torch_policy: TorchPolicy) -> None:
        [[hot]] = policy.sample(["The sky is"], 1, max_tokens=1, temperature=2.0, seed=1)
        options = [torch_policy.score([("The sky is", [i])])[0][0] for i in hot.tokens]
        assert abs(hot.logprobs[0] - options[0]) > 0.01

    def test_choices_are_those_of_torch(self, policy: VllmPolicy, torch_policy: TorchPolicy) -> None:
        options = [[" blue", " blue and red", " grey"]]
        [mine], [other] = (p.choose(["The sky is"], options, seed=2) for p in (policy, torch_policy))
        assert (mine.index, mine.tokens, mine.allowed) == (other.index, other.tokens, other.allowed)
        assert mine.logprobs == pytest.approx(other.logprobs, abs=policy.tolerance.match)

    def test_adapters_are_swapped_between_rounds(
        self, policy: VllmPolicy, torch_policy: TorchPolicy, make: Make
    ) -> None:
        names, before = [], policy.score(PROBE)
        for seed in (1, 2):
            adapter = make(seed)
            torch_policy.load_adapter(adapter.sha)
            told = hand_over(policy, adapter.sha, PROBE, torch_policy.score(PROBE))
            assert told.mismatch < policy.tolerance.match < told.changed
            names.append(policy.name)
            assert policy.listed() == {"base", policy.name}
        assert len(set(names)) == 2
        policy.load_adapter(None)
        assert policy.listed() == {"base"}
        after = policy.score(PROBE)
        assert np.concatenate(after) == pytest.approx(np.concatenate(before), abs=policy.tolerance.match)

    def test_the_wrong_adapter_and_one_that_does_not_fit(
        self, policy: VllmPolicy, torch_policy: TorchPolicy, make: Make
    ) -> None:
        torch_policy.load_adapter(make(1).sha)
        with pytest.raises(Mismatch):
            hand_over(policy, make(2).sha, PROBE, torch_policy.score(PROBE))
        worn = policy.adapter
        with pytest.raises(WrongRank, match="at most 16"):
            policy.load_adapter(make(3, rank=32).sha)
        assert policy.adapter == worn

    def test_a_server_killed_in_mid_round(self, server: Server, policy: VllmPolicy) -> None:
        """Its engine is killed; then the sampler says so, and nothing of the group is left."""
        policy.score(PROBE)
        family = psutil.Process(server.pid).children(recursive=True)
        os.kill(family[0].pid, signal.SIGKILL)
        with pytest.raises(ServerGone):
            policy.sample(["The sky is"], 8, max_tokens=1024)
        deadline = time.monotonic() + 30
        while not server.ended() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert server.ended()
        assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
