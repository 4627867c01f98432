#!/usr/bin/python3
"""The command that SWE-ReX starts in its container, `swerex-remote`: its packages stand apart from the candidate's."""

import sys

if __name__ == "__main__":
    sys.path.insert(0, "/opt/swerex")
    from swerex.server import main  # type: ignore[import-not-found,unused-ignore]

    main()
