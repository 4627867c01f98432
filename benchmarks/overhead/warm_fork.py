"""The floor of every warm start: a process that has imported what is needed forks one child for each candidate.

No boundary at all: the child is this process's copy, with its memory, files and rights. Run as `python warm_fork.py <module>...`; a
line of JSON `{"folder": ..., "program": ...}` on stdin is one candidate, and a line on stdout says that it has ended.
"""

import importlib
import json
import os
import sys

if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(order["folder"])
            exec(order["program"])
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)
