"""What ``py-code-mode serve`` turns into once its environment is clean."""

from __future__ import annotations

import sys

from py_code_mode.server.process import main

sys.exit(main(*map(int, sys.argv[1:])))
