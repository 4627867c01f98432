"""The original LawBench task: its file format, its rule for reading an answer, and fetching it by hash."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lawbench.multilabel import data, outputs
from benchmarks.lawbench.multilabel.data import Question
from benchmarks.lawbench.multilabel.score import TASK, inputs, score_sets
from benchmarks.lawbench.predictions import BadOutput
from benchmarks.task import Bench, Candidate, Split
from results.stats import bootstrap_mean
from sandboxes.base import UserError

CHARGES = ("盗窃", "诈骗", "盗窃、侮辱尸体", "失火")
ROWS = [
    {"instruction": "只写罪名。", "question": f"事实:某人拿走第{i}辆车。\r\n", "answer": f"罪名:{answer}"}
    for i, answer in enumerate(["盗窃", "盗窃;诈骗", "失火"])
]
PROGRAM = f"import nowhere\noption_list = {list(CHARGES)!r}\n\ndef compute(): ..."


def test_questions_are_read_in_lawbench_s_own_format() -> None:
    first, second, third = data.read_questions(json.dumps(ROWS))
    assert (first.key, first.text, first.charges) == ("3-3/0", "某人拿走第0辆车。", {"盗窃"})
    assert (second.charges, third.charges) == ({"盗窃", "诈骗"}, {"失火"})


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "[]", '[{"question": "x"}]', json.dumps([{**ROWS[0], "answer": "盗窃"}])]
)
def test_another_format_is_told_apart(text: str) -> None:
    with pytest.raises(UserError, match="not a LawBench file"):
        data.read_questions(text)


def test_the_charges_are_read_out_of_a_program_that_is_not_run() -> None:
    assert data.read_charges(PROGRAM) == CHARGES
    with pytest.raises(UserError):
        data.read_charges("x = 1")


def test_names_are_found_as_the_published_metric_finds_them() -> None:
    assert outputs.named("[罪名]盗窃;诈骗<eoa>", CHARGES) == {"盗窃", "诈骗"}
    assert outputs.named("不是失火", CHARGES) == {"失火"}, "it does not read, it searches"
    assert outputs.named("盗窃、侮辱尸体", CHARGES) == {"盗窃", "盗窃、侮辱尸体"}, "a name inside a name counts too"
    assert outputs.named("无罪", CHARGES) == frozenset()


def test_the_published_metric_by_hand() -> None:
    questions = data.read_questions(json.dumps(ROWS))
    asked = [(str(i), question) for i, question in enumerate(questions)]
    score = score_sets(asked, {"0": frozenset({"盗窃"}), "1": frozenset({"盗窃"}), "2": frozenset()}, CHARGES)
    assert score.units == pytest.approx({"3-3/0": 1.0, "3-3/1": 2 / 3, "3-3/2": 0.0})
    assert score.value == pytest.approx((1 + 2 / 3) / 3)
    assert score.secondary["exact"] == score.secondary["abstained"] == pytest.approx(1 / 3)
    assert score.secondary["f1_several"] == pytest.approx(2 / 3)
    assert score.secondary["best_possible"] == 1.0
    low, high = score.interval or (1.0, 0.0)
    assert low <= score.value <= high


def entry(prediction: object) -> dict[str, object]:
    return {"origin_prompt": "…", "prediction": prediction, "refr": "罪名:失火"}


def read(text: str | bytes) -> dict[str, frozenset[str]]:
    return outputs.parse(io.BytesIO(text.encode() if isinstance(text, str) else text), ["0", "1"], CHARGES)


def test_model_outputs_are_read_and_their_own_reference_is_not() -> None:
    given_file = json.dumps({"0": entry("[罪名]盗窃<eoa>"), "1": entry("不知道")})
    assert read(given_file) == read("\ufeff" + given_file) == {"0": {"盗窃"}, "1": set()}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        (b"\xff\xfe{", "not UTF-8"),
        ('{"0": {"prediction": ""}}', "1 of 2 questions have no entry"),
        ('{"0": {}, "0": {}}', "id '0' stands twice"),
        ('{"7": {}}', "unknown id '7'"),
        ('{"0": {"prediction": 1}, "1": {}}', 'no "prediction"'),
        (b" " * (outputs.MAX_BYTES + 1), "larger than"),
    ],
)
def test_each_fault_of_an_output_file_has_its_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(BadOutput, match=reason):
        read(text)


@given(st.binary(max_size=200) | st.text(alphabet='{}"01: predction,', max_size=60).map(str.encode))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    try:
        found = set(read(raw))
    except BadOutput:
        return
    assert found == {"0", "1"}


@given(st.lists(st.integers(1, 3), min_size=30, max_size=200))
def test_the_search_split_is_a_fifth_of_each_number_of_charges(counts: list[int]) -> None:
    names = ["a", "b", "c"]
    questions = [Question(f"3-3/{i}", "", frozenset(names[:n])) for i, n in enumerate(counts)]
    search, report = data.divide(questions, {"3-3/0"})
    assert sorted(search + report) == list(range(len(counts)))
    assert 0 not in search
    for n in (1, 2, 3):
        free = sum(c == n for i, c in enumerate(counts) if i)
        assert sum(counts[i] == n for i in search) == round(free * data.SEARCH_SHARE)


class Handler(BaseHTTPRequestHandler):
    bodies: dict[str, bytes]

    def do_GET(self) -> None:
        body = self.bodies[self.path.removeprefix("/raw/")]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return None


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A local server with small files in the published places, and a cache of its own."""
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RATCHET_DATA", raising=False)
    monkeypatch.setattr(data.lawbench, "fetch", lambda progress: None)
    monkeypatch.setattr(data.lawbench, "missing", lambda: None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Handler.bodies = {data.QUESTIONS: json.dumps(ROWS).encode(), data.METRIC: PROGRAM.encode()}
    hashes = {name: hashlib.sha256(body).hexdigest() for name, body in Handler.bodies.items()}
    monkeypatch.setattr(data, "FILES", hashes)
    data.published.cache_clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/raw/"
        server.shutdown()
    data.published.cache_clear()


def test_both_files_are_fetched_by_hash_and_then_at_hand(address: str) -> None:
    assert "ratchet data fetch lawbench-multilabel" in (data.missing() or "")
    data.fetch(print, address)
    assert data.missing() is None
    charges, questions = data.published()
    assert (charges, len(questions)) == (CHARGES, 3)


def test_a_changed_file_is_refused(address: str) -> None:
    Handler.bodies[data.QUESTIONS] += b" "
    with pytest.raises(UserError, match="another hash"):
        data.fetch(print, address)
    assert data.missing() is not None


def test_a_copy_of_the_user_s_is_taken_only_when_it_is_the_right_one(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_DATA", str(tmp_path / "own"))
    folder = tmp_path / "own" / "lawbench"
    folder.mkdir(parents=True)
    for name, body in Handler.bodies.items():
        (folder / Path(name).name).write_bytes(body)
    assert data.missing() is None
    (folder / "3-3.json").write_bytes(b"[]")
    assert data.missing() is not None


def test_no_key_and_no_answer_reaches_the_candidate() -> None:
    questions = data.read_questions(json.dumps(ROWS))
    law = data.LawSets(CHARGES, (), (), tuple(questions))
    files = inputs(CHARGES, law, [(f"name{i}", question) for i, question in enumerate(questions)])
    cases = [json.loads(line) for line in files["cases.jsonl"].decode().splitlines()]
    assert all(set(case) == {"id", "text"} for case in cases)
    assert "3-3/" not in b"".join(files.values()).decode()


@pytest.mark.sandbox
def test_the_real_questions_in_a_real_sandbox(bench: Bench) -> None:
    if reason := TASK.missing():
        pytest.skip(reason)
    law = data.load()
    assert (len(law.search), len(law.report), len(law.charges)) == (101, 399, 189)
    assert not {case.text for case in law.train} & {question.text for question in (*law.search, *law.report)}
    [score] = TASK.score([Candidate(source=TASK.baseline("majority").source)], Split.REPORT, 1, bench)
    assert score.ok, score
    assert score.interval == bootstrap_mean(np.array([*score.units.values()]))
