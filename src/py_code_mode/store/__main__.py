"""``python -m py_code_mode.store``: the command ``py-code-mode store`` under its older name."""

from __future__ import annotations

import sys

from py_code_mode.cli.store import main

if __name__ == "__main__":
    sys.exit(main(program="python -m py_code_mode.store"))
