"""Arrays as text inside JSON: base64 of their little-endian bytes, so that nothing is lost and the digest is stable."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "unpack"]


def pack(array: NDArray[np.float64]) -> dict[str, Any]:
    """An array of numbers as a small JSON object: its shape, and its bytes as text."""
    data = np.ascontiguousarray(array, "<f8")
    return {"shape": list(data.shape), "float64": base64.b64encode(data.tobytes()).decode()}


def unpack(packed: dict[str, Any]) -> NDArray[np.float64]:
    """The array that `pack` packed, bit for bit."""
    flat = np.frombuffer(base64.b64decode(packed["float64"]), "<f8").astype(np.float64)
    return flat.reshape(packed["shape"])
