"""Byte-compile an image's packages while it is built, so that a read-only sandbox starts fast.

Hash-based and unchecked, so that two builds give the same bytes. Packages ship files that no Python 3 compiles (old
test data); those are left alone.
"""

import compileall
import py_compile

if __name__ == "__main__":
    compileall.compile_dir(
        "/opt/site", quiet=2, workers=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
