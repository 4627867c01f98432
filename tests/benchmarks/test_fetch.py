"""Downloads land whole or not at all, and every failure names its fix."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks import fetch
from sandboxes.base import UserError

BODY = bytes(range(256)) * 2000
SHA = hashlib.sha256(BODY).hexdigest()


def silent(message: str) -> None:
    return None


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def leftovers(cache: Path) -> list[str]:
    return [p.name for p in cache.rglob("*") if p.is_file() and p.suffix in (".part", ".tmp", ".whl")]


class Server(ThreadingHTTPServer):
    """Serves BODY at every path. `cut_after` cuts the next answer short, once, after so many bytes."""

    cut_after: int | None = None
    ranges: list[str | None]
    resumes = True


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.resumes else 0
        if start > len(BODY):
            self.send_error(416)
            return
        body = BODY[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut, self.server.cut_after = self.server.cut_after, None
        self.wfile.write(body[:cut])

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.ranges = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/file.bin"


def test_second_call_comes_from_the_cache(server: Server) -> None:
    first = fetch.http_file(url(server), SHA, "file.bin", silent)
    assert first.read_bytes() == BODY
    assert fetch.http_file(url(server), SHA, "file.bin", silent) == first
    assert len(server.ranges) == 1


def test_cut_connection_is_resumed(server: Server, cache: Path) -> None:
    server.cut_after = 100_000
    assert fetch.http_file(url(server), SHA, "file.bin", silent).read_bytes() == BODY
    assert len(server.ranges) == 2
    assert server.ranges[1] is not None and server.ranges[1].startswith("bytes=")
    assert leftovers(cache) == []


def test_server_that_does_not_resume_sends_it_all_again(server: Server) -> None:
    server.cut_after, server.resumes = 100_000, False
    assert fetch.http_file(url(server), SHA, "file.bin", silent).read_bytes() == BODY


@pytest.mark.parametrize("start", [b"x" * 1000, b"x" * (len(BODY) + 5)])
def test_stale_start_is_thrown_away(server: Server, cache: Path, start: bytes) -> None:
    part = cache / "files" / SHA[:12] / "file.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(start)
    assert fetch.http_file(url(server), SHA, "file.bin", silent).read_bytes() == BODY


def test_wrong_hash_leaves_nothing(server: Server, cache: Path) -> None:
    with pytest.raises(UserError, match="another hash"):
        fetch.http_file(url(server), "0" * 64, "file.bin", silent)
    assert leftovers(cache) == []
    assert not list(cache.rglob("file.bin"))


def test_no_network_is_one_line_with_the_fix() -> None:
    with pytest.raises(UserError, match="check the network"):
        fetch.http_file("http://127.0.0.1:9/file.bin", SHA, "file.bin", silent)


def test_full_disk_is_said_before_the_download(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="RATCHET_CACHE"):
        fetch.http_file(url(server), SHA, "file.bin", silent)


def test_truncated_cached_file_is_fetched_again(server: Server) -> None:
    path = fetch.http_file(url(server), SHA, "file.bin", silent)
    path.write_bytes(BODY[:10])
    assert fetch.damaged() and str(path) in fetch.damaged()[0]
    assert fetch.http_file(url(server), SHA, "file.bin", silent).read_bytes() == BODY
    assert fetch.damaged() == []


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel that pip finds, and nothing else that it could find."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "ratchet_sample-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ratchet_sample/data.bin", BODY)
        archive.writestr(
            "ratchet_sample-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: ratchet-sample\nVersion: 1.0\n"
        )
        archive.writestr(
            "ratchet_sample-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("ratchet_sample-1.0.dist-info/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return path


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_member_of_a_wheel(wheel: Path, cache: Path) -> None:
    digest = sha(wheel)
    path = fetch.wheel_file("ratchet-sample==1.0", digest, "ratchet_sample/data.bin", SHA, silent)
    assert path.read_bytes() == BODY
    wheel.unlink()
    assert fetch.wheel_file("ratchet-sample==1.0", digest, "ratchet_sample/data.bin", SHA, silent) == path
    assert leftovers(cache) == []


def test_broken_wheel_leaves_nothing(wheel: Path, cache: Path) -> None:
    digest = sha(wheel)
    wheel.write_bytes(wheel.read_bytes()[:-50])
    with pytest.raises(UserError):
        fetch.wheel_file("ratchet-sample==1.0", digest, "ratchet_sample/data.bin", SHA, silent)
    assert leftovers(cache) == []
    assert not list(cache.rglob("data.bin"))


def test_another_wheel_of_that_name_is_a_hash_mismatch(wheel: Path) -> None:
    with pytest.raises(UserError, match="another hash"):
        fetch.wheel_file("ratchet-sample==1.0", "1" * 64, "ratchet_sample/data.bin", SHA, silent)


@pytest.mark.parametrize(
    ("member", "expected"), [("ratchet_sample/none.bin", None), ("ratchet_sample/data.bin", "2" * 64)]
)
def test_missing_or_changed_member(wheel: Path, cache: Path, member: str, expected: str | None) -> None:
    with pytest.raises(UserError, match="check"):
        fetch.wheel_file("ratchet-sample==1.0", sha(wheel), member, expected, silent)
    assert leftovers(cache) == []


def test_unreachable_package_names_the_settings_to_check(wheel: Path) -> None:
    digest = sha(wheel)
    wheel.unlink()
    with pytest.raises(UserError, match="pip config list"):
        fetch.wheel_file("ratchet-sample==1.0", digest, "ratchet_sample/data.bin", SHA, silent)
