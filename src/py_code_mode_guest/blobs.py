"""Rich values as bytes with a media type: DataFrames, figures and images, kept by their type.

What is saved is opened again and compared first, so that a value which would come back different
is refused while its owner can still do something about it.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any, Final

from py_code_mode_guest.records import Blob
from py_code_mode_guest.values import UnencodableError, is_exact

DATAFRAME: Final = "application/vnd.py-code-mode.dataframe+json"
PNG: Final = "image/png"


def encode(value: Any) -> Blob | None:
    """Return the Blob of a DataFrame, figure or image; None for any other type.

    Raises UnencodableError where the value would not come back equal.
    """
    for module, type_name, encoder in _ENCODERS:
        loaded = sys.modules.get(module)
        kind = getattr(loaded, type_name, None)
        if isinstance(kind, type) and isinstance(value, kind):
            return encoder(value)
    return None


def decode(blob: Blob) -> Any:
    """Return the value of a Blob; its bytes where the library for its type is not installed."""
    decoder = {DATAFRAME: _read_dataframe, PNG: _read_image}.get(blob.media_type)
    if decoder is None:
        return _read_text(blob)
    try:
        return decoder(blob.body)
    except ImportError:
        return blob.body


def _read_text(blob: Blob) -> Any:
    """Return text and JSON as the host does, which leaves large ones to the session."""
    kind = blob.media_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.startswith("text/"):
        return blob.body
    try:
        text = blob.body.decode()
    except UnicodeDecodeError:
        return blob.body
    if kind != "application/json":
        return text
    try:
        value = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return text
    return value if is_exact(value) else text


def _write_dataframe(frame: Any) -> Blob:
    """Columns as JSON arrays with their dtypes: exact for numbers, text, dates and categories."""
    import pandas as pd  # noqa: PLC0415 - agent code has it, we do not need it

    if type(frame) is not pd.DataFrame or frame.columns.nlevels > 1 or frame.index.nlevels > 1:
        raise UnencodableError("a DataFrame subclass or multi-level index cannot be stored exactly")
    document = {
        "columns": [_label(name) for name in frame.columns],
        "data": [_write_series(frame.iloc[:, i]) for i in range(frame.shape[1])],
        "index": _write_series(frame.index.to_series()),
        "range": _range_of(frame.index),
        "index_name": _label(frame.index.name),
    }
    body = json.dumps(document, allow_nan=False).encode()
    try:
        pd.testing.assert_frame_equal(_read_dataframe(body), frame, check_exact=True)
    except Exception as error:  # noqa: BLE001 - pandas says no in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnencodableError(
            f"this DataFrame would not come back equal ({reason}); convert the column to a plain"
            " dtype, or save frame.to_csv() as text"
        ) from None
    return Blob(DATAFRAME, body)


def _write_series(series: Any) -> dict[str, Any]:
    items = series.astype("int64").tolist() if series.dtype.kind in "mM" else series.tolist()
    missing = series.isna().tolist()
    values = [None if gone else _cell(item) for item, gone in zip(items, missing, strict=True)]
    return {"dtype": str(series.dtype), "values": values}


def _cell(value: Any) -> Any:
    if type(value) is float and value in (float("inf"), float("-inf")):
        return {"float": repr(value)}
    if type(value) in (str, int, float, bool):
        return value
    raise UnencodableError(f"a cell holds a {type(value).__name__}, which has no exact JSON form")


def _label(name: Any) -> Any:
    if name is None or type(name) in (str, int):
        return name
    raise UnencodableError(f"the column name {name!r} is neither text nor a whole number")


def _range_of(index: Any) -> list[int] | None:
    step = getattr(index, "step", None)
    return None if step is None else [int(index.start), int(index.stop), int(step)]


def _read_dataframe(body: bytes) -> Any:
    import pandas as pd  # noqa: PLC0415 - agent code has it, we do not need it

    document = json.loads(body)
    data = {i: _read_series(pd, column) for i, column in enumerate(document["data"])}
    if document["range"] is not None:
        index = pd.RangeIndex(*document["range"])
    else:
        index = pd.Index(_read_series(pd, document["index"]))
    frame = pd.DataFrame({i: s.array for i, s in data.items()}, index=index)
    frame.index.name = document["index_name"]
    frame.columns = pd.Index(document["columns"]) if document["columns"] else frame.columns
    return frame


def _read_series(pd: Any, column: dict[str, Any]) -> Any:
    values: list[Any] = [float(v["float"]) if isinstance(v, dict) else v for v in column["values"]]
    dtype = column["dtype"]
    if dtype.startswith(("datetime64", "timedelta64")):
        return _read_times(pd, values, dtype)
    return pd.Series(values, dtype=dtype)


def _read_times(pd: Any, values: list[int | None], dtype: str) -> Any:
    kind, _, rest = dtype.rstrip("]").partition("[")
    unit, _, zone = rest.partition(", ")
    nat = -(1 << 63)
    counts = pd.Series([nat if v is None else v for v in values], dtype="int64")
    if not zone:
        return counts.astype(f"{kind}[{unit}]")
    return counts.astype(f"datetime64[{unit}]").dt.tz_localize("UTC").dt.tz_convert(zone)


def _write_figure(figure: Any) -> Blob:
    """A picture of the figure; what is loaded is the image, as the reference says."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return Blob(PNG, buffer.getvalue())


def _write_image(image: Any) -> Blob:
    buffer = io.BytesIO()
    try:
        image.save(buffer, format="PNG")
    except OSError as error:
        raise UnencodableError(f"this image cannot be a PNG ({error}); convert it to RGB") from None
    again = _read_image(buffer.getvalue())
    if (again.mode, again.size, again.tobytes()) != (image.mode, image.size, image.tobytes()):
        raise UnencodableError(f"an image of mode {image.mode} would not come back equal")
    return Blob(PNG, buffer.getvalue())


def _read_image(body: bytes) -> Any:
    from PIL import Image  # noqa: PLC0415 - agent code has it, we do not need it

    image = Image.open(io.BytesIO(body))
    image.load()
    return image


_ENCODERS: Final = (
    ("pandas", "DataFrame", _write_dataframe),
    ("matplotlib.figure", "Figure", _write_figure),
    ("PIL.Image", "Image", _write_image),
)
