"""What a program inside can't do, in each backend: each test runs a program that tries."""

from __future__ import annotations

import os
import time

import pytest

from sandboxes.base import SandboxFactory
from sandboxes.session import Session, open_session
from tests.sandboxes.conftest import IMAGE, SMALL

pytestmark = pytest.mark.sandbox


def python(box: Session, program: str, **kwargs: float) -> tuple[str, str]:
    box.put("/scratch/program.py", program.encode())
    result = box.exec(["python3", "/scratch/program.py"], **kwargs)
    assert result.succeeded, result
    return result.stdout.decode().strip(), result.stderr.decode()


def test_runs_as_nobody_without_privileges(box: Session) -> None:
    status, _ = python(box, "print(open('/proc/self/status').read())")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {"65534"}
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"


def test_writes_only_to_scratch(box: Session) -> None:
    places = ["/x", "/etc/x", "/opt/site/x", "/opt/ratchet/guest/x", "/usr/x", "/dev/x", "/proc/sys/kernel/core_pattern",
              "/proc/sysrq-trigger", "/sys/x", "/sys/fs/cgroup/x"]  # fmt: skip
    program = f"""
for place in {places!r} + ["/scratch/x"]:
    try:
        open(place, "w").write("x")
        print(place)
    except OSError:
        pass
"""
    assert python(box, program)[0] == "/scratch/x"


def test_sees_no_network(box: Session) -> None:
    program = """
import socket
print(sorted(name for _, name in socket.if_nameindex()))
for address in [("169.254.169.254", 80), ("198.51.100.1", 53)]:
    s = socket.socket()
    s.settimeout(2)
    try:
        s.connect(address)
        print("connected")
    except OSError as error:
        print(type(error).__name__)
try:
    socket.getaddrinfo("example.org", 80)
    print("resolved")
except OSError:
    print("no name")
"""
    lines = python(box, program)[0].splitlines()
    assert "connected" not in lines
    assert "resolved" not in lines
    assert set(eval(lines[0])) <= {"lo", "sit0", "tunl0", "ip6tnl0", "gre0", "gretap0", "erspan0"}


def test_sees_nothing_of_the_host(factory: SandboxFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_TEST_SECRET", "do-not-tell")
    here = os.path.abspath(__file__)
    program = """
import os
print("RATCHET_TEST_SECRET" in os.environ, sorted(p for p in os.listdir("/proc") if p.isdigit())[:1])
found = [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 1 and int(p) != os.getpid()]
print(len(found), os.path.exists("/var/run/docker.sock"), os.path.exists({here!r}))
print(os.uname().nodename)
""".replace("{here!r}", repr(here))
    with open_session(factory, IMAGE, SMALL) as box:
        first, second, name = python(box, program)[0].splitlines()
    assert first == "False ['1']"
    assert second == "0 False False"
    assert name == "sandbox" != os.uname().nodename


def test_supervisor_is_out_of_reach(box: Session) -> None:
    program = """
import os, signal
for place in ["/proc/1/fd", "/proc/1/mem", "/proc/1/environ"]:
    try:
        os.listdir(place) if place.endswith("fd") else open(place, "rb").read(1)
        print("read", place)
    except OSError:
        pass
os.kill(1, signal.SIGKILL)
os.kill(1, signal.SIGSTOP)
print("still here")
"""
    assert python(box, program)[0] == "still here"
    assert python(box, "print('next')")[0] == "next"


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("unshare", "0x10000000"), ("ptrace", "0, 0, 0, 0"), ("mount", "0, b'/scratch', b'tmpfs', 0, 0"),
     ("setns", "0, 0"), ("chroot", "b'/scratch'"), ("syslog", "0, 0, 0")],
)  # fmt: skip
def test_system_calls_of_an_escape_are_refused(factory: SandboxFactory, call: str, arguments: str) -> None:
    numbers = {"unshare": 272, "ptrace": 101, "mount": 165, "setns": 308, "chroot": 161, "syslog": 103}
    program = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall({numbers[call]}, {arguments}), ctypes.get_errno())
"""
    with open_session(factory, IMAGE, SMALL) as box:
        answer, errno = python(box, program)[0].split()
    assert answer == "-1"
    assert errno in {"1", "38"}  # EPERM, ENOSYS


def test_io_uring_and_user_namespaces_by_clone_are_refused(factory: SandboxFactory) -> None:
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number, arguments in [(425, (8, 0)), (435, (0, 0)), (56, (0x10000000 | 17, 0, 0, 0, 0)), (321, (0, 0, 0)), (298, (0,) * 5)]:
    print(libc.syscall(number, *arguments), ctypes.get_errno())
"""
    with open_session(factory, IMAGE, SMALL) as box:
        lines = python(box, program)[0].splitlines()
    assert lines == ["-1 1", "-1 38", "-1 1", "-1 1", "-1 1"]


def test_nothing_survives_into_the_next_sandbox(factory: SandboxFactory) -> None:
    with open_session(factory, IMAGE, SMALL) as box:
        for place in ("/scratch/left", "/tmp/left", "/dev/shm/left"):
            python(box, f"open({place!r}, 'w').write('x')")
    with open_session(factory, IMAGE, SMALL) as box:
        assert python(box, "import os; print([os.listdir(p) for p in ('/tmp', '/dev/shm')])")[0] == "[[], []]"


def test_a_daemon_does_not_outlive_its_program(box: Session) -> None:
    daemon = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
print("bye")
"""
    begun = time.monotonic()
    assert python(box, daemon)[0] == "bye"
    assert time.monotonic() - begun < 4, "waited for a grandchild that holds the pipe"
    count = "import os; print(len([p for p in os.listdir('/proc') if p.isdigit()]))"
    assert python(box, count)[0] == "2"  # The supervisor and the counter.
