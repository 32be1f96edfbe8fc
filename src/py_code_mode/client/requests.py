"""What is asked of a server: one request, with what may be done when its connection breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. ``body`` goes as JSON, ``content`` as it is; ``path`` is already encoded.

    ``is_safe`` where a second one does no harm, so that it may be sent again when nobody knows
    whether the first arrived. ``patience_s`` is how long the server may be silent.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe: bool = True
    patience_s: float = 30.0
