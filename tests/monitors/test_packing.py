"""Arrays as text."""

import json
import math

import numpy as np
import pytest

from serinus.monitors.packing import pack, squeeze, unpack, unsqueeze


@pytest.mark.parametrize("array", [
    np.array([[0.1, -0.0], [math.inf, 1e300]]), np.empty((0, 3)), np.array([math.nan]), np.arange(6.0)[::2]])
def test_an_array_comes_back_bit_for_bit(array: np.ndarray) -> None:
    """Through JSON text and back nothing changes: shape, sign of zero, infinity, NaN."""
    found = unpack(json.loads(json.dumps(pack(array))))
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable


@pytest.mark.parametrize("array", [
    np.arange(12, dtype=np.int64).reshape(3, 4), np.array([[-np.inf, 1.5]], np.float32), np.empty((0, 18), np.int64)])
def test_a_squeezed_array_comes_back_with_its_type(array: np.ndarray) -> None:
    """Through JSON text and back nothing changes, and small counts take a fraction of their bytes."""
    found = unsqueeze(json.loads(json.dumps(squeeze(array))))
    assert (found.shape, found.dtype, found.tobytes()) == (array.shape, array.dtype, array.tobytes())
    assert found.flags.writeable
    assert len(squeeze(np.ones(10_000, np.int64))["zlib"]) < 1_000
