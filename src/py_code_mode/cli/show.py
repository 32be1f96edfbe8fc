"""A run's result for a person: colours on a terminal, plain text when piped."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from py_code_mode.models import RunResult


def show_result(result: RunResult) -> None:
    """Print output to stdout and the error to stderr, as Python itself would."""
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    if result.value is not None:
        out.print(Text(str(result.value) if isinstance(result.value, str) else repr(result.value)))
    for bundle in result.displays:
        kinds = ", ".join(sorted(bundle))
        out.print(Text(f"[display: {kinds}]", style="cyan"))
    if result.truncated:
        err.print(Text(f"cut at the output limit: {', '.join(result.truncated)}", style="yellow"))
    if result.error is not None:
        err.print(Text(result.error, style="red"))
    if result.state.lost:
        err.print(Text("the session's variables were lost", style="yellow"))
