"""Arrays as text."""

import json
import math

import numpy as np
import pytest

from serinus.monitors.packing import pack, unpack


@pytest.mark.parametrize("array", [
    np.array([[0.1, -0.0], [math.inf, 1e300]]), np.empty((0, 3)), np.array([math.nan]), np.arange(6.0)[::2]])
def test_an_array_comes_back_bit_for_bit(array: np.ndarray) -> None:
    """Through JSON text and back nothing changes: shape, sign of zero, infinity, NaN."""
    found = unpack(json.loads(json.dumps(pack(array))))
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable
