"""The front of the command line: loads the command that is asked for, and no other.

``serve`` and ``store`` are waited for by deployments, ``mcp`` by clients; the rest of the command
line, with what it draws tables and colours with, would take most of their start.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from py_code_mode.server.ending import end_at_once, release


def main() -> NoReturn:
    """Run the command line."""
    command = sys.argv[1:2]
    if command == ["serve"]:
        end_at_once()
        from py_code_mode.cli.serve import main as serve  # noqa: PLC0415 - see above

        sys.exit(serve(sys.argv[2:]))
    release()
    if command == ["mcp"]:
        from py_code_mode.cli.mcp import main as mcp  # noqa: PLC0415 - see above

        sys.exit(mcp(sys.argv[2:]))
    if command == ["store"]:
        from py_code_mode.cli.store import main as store  # noqa: PLC0415 - see above

        sys.exit(store(sys.argv[2:]))
    from py_code_mode.cli.main import main as others  # noqa: PLC0415 - see above

    others()
    sys.exit(0)
