"""The work of one candidate, the same for everything measured here: 1 MB in, a program, 1 MB out.

The standard library only: the peers' drivers import this in an environment of their own.
"""

MEGABYTE = bytes(range(256)) * 4096
"""The input, and the output that has to come back: every byte value, so that nothing may treat it as text."""

PROGRAMS = {
    "python": "open('out', 'wb').write(open('in', 'rb').read())",
    "torch": "import torch; open('out', 'wb').write(open('in', 'rb').read())",
}
"""What runs, by the name of the workload. It reads `in` and writes `out` in the folder that it is started in."""

IMAGE = "kernels"
"""The image that it runs in."""


def over_streams(program: str) -> str:
    """The same work for what has no way to carry files: the input on stdin, the output on stdout."""
    return (
        f"import sys; open('in', 'wb').write(sys.stdin.buffer.read()); {program}; "
        "sys.stdout.buffer.write(open('out', 'rb').read())"
    )
