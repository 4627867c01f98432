"""Inside the sandbox: import what candidates of this domain need, then wait for one program and become it.

Run by the supervisor as `python3 -P warm.py <module>...`, under the candidate's user, limits and filter. The program then finds what
`python3 -P <program>` would have given it, only with these modules imported already: nothing of another candidate has
ever been in this process.
"""

import atexit
import contextlib
import importlib
import json
import os
import sys
import threading
import types
import weakref

SAY = 3
"""Where the supervisor listens: "r" when we are ready, then the exit code as one byte. No program that we start has it."""
ME = os.getpid()


def wait():
    """Say that we are ready, and read the rest of the command line, which ends our standard input."""
    os.set_inheritable(SAY, False)
    os.write(SAY, b"r")
    with os.fdopen(0, "rb", buffering=0, closefd=False) as control:
        line = control.readline()
    if not line:
        os._exit(0)  # Never used.
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return json.loads(line)


def program(argv):
    """Code and file name of what a Python command line names: `-c <code>` or a path."""
    if argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        return compile(argv[1], "<string>", "exec"), None
    sys.argv = argv
    with open(argv[0], "rb") as file:
        return compile(file.read(), argv[0], "exec"), argv[0]


def run(argv):
    """Run the program as `__main__`; returns the exit code that Python would have given."""
    main = types.ModuleType("__main__")
    main.__builtins__, main.__annotations__ = __builtins__, {}
    sys.modules["__main__"] = main
    try:
        code, file = program(argv)
        if file is not None:
            main.__file__, main.__cached__ = file, None
        exec(code, main.__dict__)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next  # Our own frames are no part of the program.
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    return 0


def leave(code):
    """What Python does at its end, without tearing every module down.

    The exit code goes ahead: the kernel takes tens of milliseconds to give back the memory of a process with large libraries,
    and reports its end only then. A program could say anything there, but no more than it could by ending itself.
    """
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if os.getpid() == ME:  # A forked child that runs on to the end is not the end.
            with contextlib.suppress(OSError):
                os.write(SAY, bytes([code]))
        os._exit(code)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for finalizer in list(weakref.finalize._registry):
        finalizer.atexit = False  # What libraries want to undo at the end (torch: 20 ms of it) ends with the process.
    leave(run(wait()))
