"""Messages of copies: what goes in comes out, bit by bit, and nothing is larger than a message may be."""

from __future__ import annotations

import numpy as np
import pytest

from serinus.serving.prediction_log.frame import FrameError
from serinus.serving.shadow.copies import MESSAGE_BYTES, pack, unpack
from tests.serving.prediction_log.examples import records


def test_a_message_holds_copies_as_they_are() -> None:
    """All types, gaps, failures of stable and several contexts."""
    sent = [*records(), records()[0]._replace(outputs={})]
    message, packed = pack("r" * 32, sent)
    rollout_id, copies = unpack(message)
    found = list(copies)
    assert (rollout_id, packed, len(found)) == ("r" * 32, len(sent), len(sent))
    for before, after in zip(sent, found, strict=True):
        assert (after.prediction_uuid, after.model, after.version, after.rows, after.trace_id, after.span_id) == (
            before.prediction_uuid, before.model, before.version, before.rows, before.trace_id, before.span_id)
        for side in ("inputs", "outputs"):
            arrays = getattr(before, side)
            assert list(getattr(after, side)) == list(arrays)
            assert all(np.array_equal(array, getattr(after, side)[name], equal_nan=array.dtype.kind == "f")
                       for name, array in arrays.items())


def test_what_does_not_fit_stays_for_the_next_message() -> None:
    """No message is larger than the limit, and a copy that is larger alone is not packed at all."""
    large = records()[0]._replace(inputs={"x": np.zeros(MESSAGE_BYTES // 8 - 200)}, outputs={})
    message, packed = pack("r1", [large, large])
    assert packed == 1
    assert len(message) <= MESSAGE_BYTES
    assert pack("r1", [large._replace(inputs={"x": np.zeros(MESSAGE_BYTES // 8)})])[1] == 0


@pytest.mark.parametrize("cut", [10, 200])
def test_a_damaged_message_loses_its_rest_alone(cut: int) -> None:
    """Copies before the damage are read; less than a head is no message."""
    message, _ = pack("r1", records())
    if cut < 64:
        with pytest.raises(FrameError, match="10 bytes"):
            unpack(message[:cut])
    else:
        assert len(list(unpack(message[:-cut])[1])) < len(records())
