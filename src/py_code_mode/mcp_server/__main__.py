"""What ``py-code-mode mcp`` turns into once its environment is clean."""

from __future__ import annotations

import sys

from py_code_mode.mcp_server.process import main

sys.exit(main(int(sys.argv[1])))
