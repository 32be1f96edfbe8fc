"""The tier that runs a local model with onnxruntime, several times as fast as numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from py_code_mode.errors import SearchUnavailableError
from py_code_mode.search.folder import Ids, States


class Onnx:
    """Computes with onnxruntime; the model is ``model.onnx``, or the same in ``onnx/``."""

    scheme = "onnx"

    def weights(self, folder: Path) -> Path:
        """Return the path of the model's file."""
        below = folder / "onnx" / "model.onnx"
        return below if below.exists() else folder / "model.onnx"

    def load(self, folder: Path) -> States:
        """Open the model. Raises SearchUnavailableError where onnxruntime is missing."""
        try:
            import onnxruntime  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise SearchUnavailableError(
                "EMBEDDINGS=onnx:… needs onnxruntime: pip install 'py-code-mode[onnx]', or use "
                "dir:… with the same folder, which needs numpy alone"
            ) from error
        try:
            session: Any = onnxruntime.InferenceSession(
                str(self.weights(folder)), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common base
            raise ValueError(str(error).splitlines()[0]) from error
        wanted = {each.name for each in session.get_inputs()}

        def states(ids: Ids) -> Any:
            known = {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "token_type_ids": np.zeros_like(ids),
            }
            given = {name: array for name, array in known.items() if name in wanted}
            return np.asarray(session.run(None, given)[0], np.float32)

        return states
