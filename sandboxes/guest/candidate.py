"""Inside the sandbox: load the candidate and call it, and end with a code that says whose mistake it was.

A domain's guest program imports this. What it reports is advice for the reason text; the verdict rests on the output
that the evaluator parses, because the candidate shares this process and could forge anything said here.
"""

import contextlib
import inspect
import os
import sys
import traceback

BROKEN_CONTRACT = 65
CANDIDATE_RAISED = 66
STAGE = "/scratch/stage"
"""How far loading has come, as one word: "import" once it parses, "contract" once it ran, "smoke" once it can be called."""


def give_up(code, reason):
    """End the process with a reason for the evaluator on the last line of stderr."""
    sys.stdout.flush()
    sys.stderr.write("\nRATCHET: " + reason.replace("\n", " ")[:500] + "\n")
    sys.stderr.flush()
    os._exit(code)


def reached(stage):
    """Note the stage that begins now. What fills the disk must not look like a failure of loading."""
    with contextlib.suppress(OSError), open(STAGE, "w", encoding="ascii") as file:
        file.write(stage)


def load(path, function, arguments=None):
    """The function called `function` of the program at `path`, or the end of this process with the reason.

    It must take that many positional arguments; None is for a caller that will see to it with `accept`.
    """
    try:
        with open(path, encoding="utf-8") as file:
            code = compile(file.read(), "candidate.py", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        give_up(BROKEN_CONTRACT, f"candidate does not parse: {error}")
    reached("import")
    space = {"__name__": "candidate", "__file__": "candidate.py"}
    call(exec, code, space)
    reached("contract")
    found = space.get(function)
    if not callable(found):
        give_up(BROKEN_CONTRACT, f"candidate defines no function {function}()")
    if arguments is not None:
        accept(found, function, arguments)
    return found


def accept(found, function, arguments):
    """End this process unless the function takes that many positional arguments, where it tells what it takes."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        signature = None  # Compiled code may not tell; the call will.
    if signature is not None:
        try:
            signature.bind(*[None] * arguments)
        except TypeError as error:
            reason = f"{function}() is called with {arguments} positional arguments and has {signature}: {error}"
            give_up(BROKEN_CONTRACT, f"TypeError: {reason}")
    reached("smoke")


def call(function, *args):
    """Call the candidate's code; an exception ends this process with its last lines as the reason."""
    try:
        return function(*args)
    except BaseException as error:
        if isinstance(error, SystemExit):
            give_up(BROKEN_CONTRACT, f"candidate called SystemExit({error.code!r}) before answering")
        traceback.print_exc(limit=-8)
        give_up(CANDIDATE_RAISED, f"candidate raised {type(error).__name__}: {error}")
