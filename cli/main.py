"""The `ratchet` command: one file a verb. Here is only what all verbs share: errors, exit codes, help."""

from __future__ import annotations

import json
import os
import sys
import traceback

import typer

from cli import baselines, clean, data, doctor, history, images, run, score, serve_model, tasks, train
from sandboxes.base import SandboxError, UserError
from sandboxes.cache import cache_dir

# Typer carries a click of its own from some version on; the error that both derive from is found by name.
_USAGE: type[Exception] = next(k for k in typer.BadParameter.__mro__ if k.__name__ == "ClickException")
USER_MISTAKE, OUR_FAULT, INTERRUPTED = 2, 3, 130

app = typer.Typer(
    name="ratchet",
    help="A benchmark suite for agents that improve themselves. Untrusted code runs in sandboxes, a scorer that it "
    "cannot reach decides what it is worth, and a loop keeps a change only when the score holds up.\n\n"
    "Start with `ratchet doctor`, then `ratchet run --preset demo`. Every command takes --json.\n\n"
    "Exit codes: 0 done, 1 a verdict other than ok, 2 a mistake of yours (one line says which), 3 a fault of ours.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("doctor")(doctor.doctor)
app.command("run")(run.run)
app.command("resume")(run.resume)
app.command("log")(history.log)
app.command("show")(history.show)
app.command("diff")(history.diff)
app.command("score")(score.score)
app.command("train")(train.train)
app.command("baselines")(baselines.baselines)
app.command("tasks")(tasks.tasks)
app.command("serve-model")(serve_model.serve_model)
app.command("clean")(clean.clean)
app.add_typer(data.app, name="data")
app.add_typer(images.app, name="images")


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, never a traceback."""
    as_json = "--json" in sys.argv
    try:
        # A Typer app returns its exit code here, because standalone mode would print a traceback for our own errors.
        code = app(standalone_mode=False)
        raise SystemExit(code if isinstance(code, int) else 0)
    except _USAGE as error:
        _end(
            getattr(error, "format_message")(),  # noqa: B009
            USER_MISTAKE,
            as_json,
        )
    except (typer.Abort, KeyboardInterrupt):
        try:
            _end("interrupted; nothing is left running", INTERRUPTED, as_json)
        finally:
            # All sandboxes and sockets are closed by now. A model thread may still be in the middle of a forward pass,
            # and torch aborts when the interpreter is taken down around it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
    except UserError as error:
        _end(str(error), USER_MISTAKE, as_json)
    except SandboxError as error:
        _end(f"fault: {error}", OUR_FAULT, as_json)
    except BrokenPipeError:
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno == 28:
            _end("disk full; free some space, or set RATCHET_CACHE to another disk", USER_MISTAKE, as_json)
        _fault(error, as_json)
    except Exception as error:
        _fault(error, as_json)


def _fault(error: Exception, as_json: bool) -> None:
    log = cache_dir() / "fault.log"
    log.write_text(traceback.format_exc())
    _end(f"fault of ours: {type(error).__name__}: {error}; the trace is in {log}", OUR_FAULT, as_json)


def _end(message: str, code: int, as_json: bool) -> None:
    line = " ".join(message.split())
    if as_json:
        print(json.dumps({"error": line, "exit_code": code}))
    else:
        print(f"ratchet: {line}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
