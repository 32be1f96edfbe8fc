"""A matplotlib backend for sessions: ``plt.show()`` displays the open figures and closes them.

Selected through MPLBACKEND in the worker's environment; loaded by matplotlib, never by us.
"""

from __future__ import annotations

import builtins

from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

FigureCanvas = FigureCanvasAgg
FigureManager = FigureManagerBase


def show(*_args: object, **_kwargs: object) -> None:
    """Display every open figure."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - pyplot is loading us

    display = builtins.display  # type: ignore[attr-defined]  # injected by the interpreter
    try:
        for number in plt.get_fignums():
            display(plt.figure(number))
    finally:
        plt.close("all")
