"""This machine's own Python as an image: what it shows, what it hides, and who may have one."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.kernels.plan import QUICK
from benchmarks.task import Bench
from sandboxes import host, images
from sandboxes.base import MIB, Limits, SandboxFactory, UserError
from sandboxes.cache import images_dir
from sandboxes.session import Session, open_session
from tests.benchmarks.kernels.tiny import SEED, SquareTask, scores

pytestmark = pytest.mark.sandbox
LIMITS = Limits(memory_bytes=1024 * MIB, wall_s=60.0)
TELL = """
import json, os, pwd, sys, torch
print(json.dumps({
    "python": sys.version, "torch": torch.__version__, "root": sorted(os.listdir("/")), "etc": sorted(os.listdir("/etc")),
    "user": pwd.getpwuid(os.getuid()).pw_name, "writable": os.access(torch.__file__, os.W_OK),
}))
"""


@pytest.fixture(scope="module")
def backend() -> SandboxFactory:
    from sandboxes.backends import choose_backend

    try:
        return choose_backend("bubblewrap")
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def own(backend: SandboxFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxFactory]:
    """`kernels` is this machine's own Python, in a cache of this module's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RATCHET_CACHE", str(tmp_path_factory.mktemp("cache")))
        host.stand_in(backend, "kernels")
        yield backend


@pytest.fixture
def box(own: SandboxFactory) -> Iterator[Session]:
    with open_session(own, "kernels", LIMITS) as session:
        yield session


def test_it_is_our_python_and_nothing_else_of_the_machine(box: Session) -> None:
    import torch

    box.put("/scratch/tell.py", TELL.encode())
    done = box.exec(["python3", "/scratch/tell.py"])
    assert done.succeeded, done
    told = json.loads(done.stdout)
    assert told["python"] == sys.version and told["torch"] == torch.__version__
    assert told["user"] == "nobody" and not told["writable"]
    assert set(told["etc"]) <= {"alternatives", "group", "ld.so.cache", "passwd"}
    here = {*host.OF_THE_ROOT, "usr", "etc", "opt", "proc", "dev", "tmp", "scratch"}
    # The place of the interpreter's own files, where that is outside /usr.
    assert set(told["root"]) <= here | {Path(sys.base_prefix).parts[1]}
    assert box.image_digest.startswith("host:")


def test_files_of_the_user_who_runs_it_are_not_there(box: Session, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("answer")
    for path in (tmp_path / "secret", Path(__file__), Path("/var/lib/dpkg/status"), Path("/etc/hostname")):
        done = box.exec(["python3", "-c", f"open({str(path)!r})"])
        assert b"FileNotFoundError" in done.stderr, path


def test_a_kernel_is_scored_in_it(own: SandboxFactory) -> None:
    found, _ = scores(SquareTask(), {"seed": SEED}, Bench(own, quick=True), QUICK)
    assert found["seed"].ok, found["seed"].reason
    assert found["seed"].image.startswith("host:")


def test_what_pip_has_on_record_is_in_the_digest(own: SandboxFactory, tmp_path: Path) -> None:
    record = tmp_path / "a-1.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("a.py,sha256=1,2\n")
    before = host._digest(tmp_path)
    record.write_text("a.py,sha256=2,2\n")
    assert host._digest(tmp_path) != before


def test_it_is_for_kernels_and_for_bubblewrap_alone(own: SandboxFactory) -> None:
    with pytest.raises(UserError, match="answers of other domains"):
        host.stand_in(own, "denoising")

    class Other:
        name = "docker"

    with pytest.raises(UserError, match="--backend bubblewrap"):
        host.stand_in(Other(), "kernels")  # type: ignore[arg-type]


def test_a_python_without_torch_is_told(own: SandboxFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(UserError, match="has no no_such_package"):
        host.stand_in(own, "kernels")


def test_packages_that_do_not_load_leave_no_image(
    own: SandboxFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path))
    monkeypatch.setattr(host, "TRIAL", "import no_such_package")
    with pytest.raises(UserError, match="does not load torch and numpy in a sandbox: ModuleNotFoundError"):
        host.stand_in(own, "kernels")
    assert host.registered("kernels") is None


def test_the_locked_one_comes_back(
    own: SandboxFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend_with: Callable[..., SandboxFactory]
) -> None:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path))
    host.stand_in(own, "kernels-cuda")
    assert images.build(own, "kernels-cuda", print).startswith("host:")
    host.unregister("kernels-cuda")
    assert not list(images_dir().glob("host-*"))
    with pytest.raises(UserError, match="not built"):
        images.tree("kernels-cuda")
