"""What ``py-code-mode serve`` turns into once its environment is clean."""

from __future__ import annotations

import sys

from py_code_mode.server.ending import end_at_once

if __name__ == "__main__":
    end_at_once()
    # Loading it takes long enough to be asked meanwhile.
    from py_code_mode.server.process import main

    sys.exit(main(*map(int, sys.argv[1:])))
