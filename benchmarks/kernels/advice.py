"""What a reader of a kernel should look at: one pass over its syntax tree, and never a verdict.

Every name here has honest uses, and every finding can be hidden (`getattr`, `exec`, base64). So this goes into the
record for whoever reads the program; what the program did decides (`rounds.py`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

MODULES = {
    "ctypes": "calls into C libraries",
    "subprocess": "starts programs",
    "multiprocessing": "starts processes",
    "concurrent": "starts threads or processes",
    "threading": "starts threads",
    "_thread": "starts threads",
    "asyncio": "defers work",
    "signal": "runs code on signals or timers",
    "atexit": "runs code at the end",
    "gc": "looks at other objects",
    "weakref": "runs code when objects go",
    "inspect": "looks at the stack",
    "traceback": "looks at the stack",
    "socket": "talks to other processes",
    "mmap": "maps memory",
    "fcntl": "changes descriptors",
    "resource": "changes limits",
    "tempfile": "keeps data in files",
    "shelve": "keeps data in files",
    "pickle": "loads objects",
    "importlib": "loads code by name",
    "builtins": "changes what words mean",
}
NAMES = {
    "_getframe": "looks at the stack",
    "_current_frames": "looks at the stack",
    "f_locals": "looks at the caller's variables",
    "f_globals": "looks at the caller's variables",
    "fork": "starts a process",
    "_exit": "ends the process",
    "sched_setaffinity": "moves itself between cores",
    "setpriority": "changes priority",
    "nice": "changes priority",
    "memfd_create": "makes shared memory",
    "process_vm_writev": "writes other processes' memory",
    "exec": "runs generated code",
    "eval": "runs generated code",
    "__import__": "loads code by name",
    "setattr": "changes other modules",
    "__torch_function__": "makes a tensor that computes when looked at",
    "__torch_dispatch__": "makes a tensor that computes when looked at",
    "as_subclass": "makes a tensor that computes when looked at",
    "Stream": "works on another stream",
    "Event": "times itself",
    "elapsed_time": "times itself",
    "synchronize": "waits for the device itself",
    "open": "opens a file",
    "data_ptr": "looks at addresses",
}
PATCHED = {"time", "torch", "numpy", "np", "sys", "os"}
"""Modules whose attributes a kernel has no reason to assign."""


def _findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    if why := MODULES.get(name.name.partition(".")[0]):
                        yield node.lineno, f"imports {name.name}: {why}"
            case ast.ImportFrom(module=str(module)) if why := MODULES.get(module.partition(".")[0]):
                yield node.lineno, f"imports {module}: {why}"
            case ast.Attribute(attr=attr) if attr in NAMES:
                yield node.lineno, f"uses {attr}: {NAMES[attr]}"
            case ast.Name(id=name) if name in NAMES:
                yield node.lineno, f"uses {name}: {NAMES[name]}"
            case ast.Assign(targets=targets):
                for target in targets:
                    root = target
                    while isinstance(root, ast.Attribute):
                        root = root.value
                    if isinstance(target, ast.Attribute) and isinstance(root, ast.Name) and root.id in PATCHED:
                        yield node.lineno, f"assigns {ast.unparse(target)}: changes another module"
            case ast.Global(names=names):
                yield node.lineno, f"keeps {', '.join(names)} between launches"
            case ast.Try(handlers=handlers) if handlers:
                yield node.lineno, "catches exceptions: may fall back to something else"
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == "kernel":
            yield from _library_calls(function)


def _library_calls(kernel: ast.FunctionDef) -> Iterator[tuple[int, str]]:
    """Calls into torch from the body of `kernel` itself: the hot path as far as one can see it without running it."""
    for node in ast.walk(kernel):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func)
            if name.startswith(("torch.", "F.")):
                yield node.lineno, f"calls {name} in the hot path"


def advice(source: str) -> list[str]:
    """Findings as `line N: what`, in the order of lines, each once. A source that does not parse has none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [f"line {line}: {what}" for line, what in sorted(set(_findings(tree)))]


def form(source: str) -> str:
    """How the program wants to be called: "returns" when its top level says `RETURNS = True`, else "fills".

    Read here, from text, so that it is settled before the first line of the candidate runs.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "fills"
    assigned = (node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant))
    true = (node for node in assigned if getattr(node.value, "value", None) is True)
    said = any(isinstance(t, ast.Name) and t.id == "RETURNS" for node in true for t in node.targets)
    return "returns" if said else "fills"
