"""MIME bundles: what an object looks like to a person or a model (HTML, PNG, text …)."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import weakref
from typing import Any, Final

from py_code_mode_guest.texts import printable, safe_repr

#: IPython's display protocol, which pandas, PIL, plotly, altair and others speak.
_METHODS: Final = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
}
_MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]{1,100}", re.ASCII)
_MAX_REPR: Final = 10_000
_PLAIN: Final = frozenset(
    {type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset}
)

Bundle = dict[str, str | bytes]


class Shown:
    """Which objects were shown in a run. Keeps none of them alive, and takes no other for one.

    What cannot be referred to weakly is not remembered; it is shown again at worst.
    """

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[Any]] = {}

    def add(self, value: Any) -> None:
        """Remember ``value``."""
        with contextlib.suppress(TypeError):
            self._references[id(value)] = weakref.ref(value)

    def __contains__(self, value: Any) -> bool:
        reference = self._references.get(id(value))
        # Another object may have got the place of one that is gone.
        return reference is not None and reference() is value


def rich_bundle(value: Any) -> Bundle | None:
    """Return the bundle of a value that has more to show than its text, else None."""
    if type(value) in _PLAIN:
        return None  # by far the most values, and none of them has a method of the protocol
    bundle = _figure_bundle(value) or _protocol_bundle(value)
    if not bundle or set(bundle) == {"text/plain"}:
        return None
    return {"text/plain": safe_repr(value, _MAX_REPR), **bundle}


def bundle(value: Any) -> Bundle:
    """Return the bundle of any value; plain text where it has nothing richer."""
    if isinstance(value, str):
        return {"text/plain": printable(value)}
    return rich_bundle(value) or {"text/plain": safe_repr(value, _MAX_REPR)}


def take_open_figures(shown: Shown) -> list[Bundle]:
    """Return pyplot's open figures that were not shown yet, and close all of them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return []
    try:
        figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
        return [bundle(figure) for figure in figures if figure not in shown]
    finally:  # or a figure that cannot be drawn would fail the next run too, and all after it
        pyplot.close("all")


def is_figure(value: Any) -> bool:
    """True for a matplotlib figure."""
    kind = getattr(sys.modules.get("matplotlib.figure"), "Figure", None)
    return isinstance(kind, type) and isinstance(value, kind)


def _figure_bundle(value: Any) -> Bundle | None:
    if not is_figure(value):
        return None
    buffer = io.BytesIO()
    value.savefig(buffer, format="png", bbox_inches="tight")
    return {"image/png": buffer.getvalue()}


def _protocol_bundle(value: Any) -> Bundle:
    if isinstance(value, type):
        return {}  # a class that defines _repr_html_ for its instances
    found: Bundle = {}
    for media_type, data in _raw_bundle(value).items():
        clean = _clean(media_type, data)
        if clean is not None:
            found[media_type] = clean
    return found


def _raw_bundle(value: Any) -> dict[Any, Any]:
    whole = _call(value, "_repr_mimebundle_")
    whole = whole[0] if isinstance(whole, tuple) and whole else whole
    if isinstance(whole, dict):
        return dict(whole)
    return {kind: _call(value, method) for method, kind in _METHODS.items()}


def _call(value: Any, method: str) -> Any:
    """Return what the method gives; None where it is missing or fails, as the protocol says."""
    try:
        function = getattr(value, method, None)
        result = function() if callable(function) else None
    except Exception:  # noqa: BLE001 - a display must not fail the run
        return None
    # Some libraries return (data, metadata).
    return result[0] if isinstance(result, tuple) and method != "_repr_mimebundle_" else result


def _clean(media_type: Any, data: Any) -> str | bytes | None:
    if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type) or data is None:
        return None
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        return printable(str(data))
    if "json" not in media_type:
        return None
    try:
        return json.dumps(data)
    except (TypeError, ValueError, RecursionError):
        return None
