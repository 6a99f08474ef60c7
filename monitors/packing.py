"""Arrays as text inside JSON: base64 of their little-endian bytes, so that nothing is lost and the digest is stable."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "squeeze", "unpack", "unsqueeze"]


def pack(array: NDArray[np.float64]) -> dict[str, Any]:
    """An array of numbers as a small JSON object: its shape, and its bytes as text."""
    data = np.ascontiguousarray(array, "<f8")
    return {"shape": list(data.shape), "float64": base64.b64encode(data.tobytes()).decode()}


def unpack(packed: dict[str, Any]) -> NDArray[np.float64]:
    """The array that `pack` packed, bit for bit."""
    flat = np.frombuffer(base64.b64decode(packed["float64"]), "<f8").astype(np.float64)
    return flat.reshape(packed["shape"])


def squeeze(array: NDArray[Any]) -> dict[str, Any]:
    """An array of any numbers as a small JSON object, compressed: for tables that are mostly small counts."""
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = base64.b64encode(zlib.compress(data.tobytes(), 1)).decode()
    return {"shape": list(data.shape), "dtype": data.dtype.str, "zlib": text}


def unsqueeze(squeezed: dict[str, Any]) -> NDArray[Any]:
    """The array that `squeeze` squeezed, bit for bit."""
    dtype = np.dtype(squeezed["dtype"])
    flat = np.frombuffer(zlib.decompress(base64.b64decode(squeezed["zlib"])), dtype)
    return flat.astype(dtype.newbyteorder("=")).reshape(squeezed["shape"])
