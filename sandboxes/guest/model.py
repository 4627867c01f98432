"""Inside the sandbox: reach the language model through the socket that the evaluator mounted, if it did."""

import json
import os
import socket

SOCKET = "/model/model.sock"


class BudgetSpent(Exception):
    """The token budget of this scoring does not suffice for this request; a smaller one may still be served."""


class ModelError(Exception):
    """The model could not answer; the message says why."""


def available():
    return os.path.exists(SOCKET)


class Model:
    """The language model. Its token budget covers the whole run: prompts and answers count."""

    def __init__(self, path=SOCKET):
        self.path = path

    def _ask(self, request):
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.connect(self.path)
                link.sendall(json.dumps(request).encode() + b"\n")
                with link.makefile("rb") as stream:
                    answer = json.loads(stream.readline() or b'{"error": "no answer"}')
        except OSError as error:
            raise ModelError(str(error)) from error
        if answer.get("error") == "budget":
            raise BudgetSpent
        if "error" in answer:
            raise ModelError(answer["error"])
        return answer

    def chat(self, messages, max_tokens=64):
        """The assistant's next words, after messages [{"role": ..., "content": ...}]."""
        return self._ask({"op": "chat", "messages": messages, "max_tokens": max_tokens})["text"]

    def choose(self, prompts, options):
        """For each prompt the index of its most probable continuation, out of its own list of options.

        Options of one token (" A") cost least: all of them are read off one pass over the prompt.
        """
        return self._ask({"op": "choose", "prompts": list(prompts), "options": [list(o) for o in options]})["choices"]
