"""Functions of a DataFrame are models too, in memory, with the signature that their author declares."""

import numpy as np
import pytest

from serinus.models import Field, InvalidSignature, Signature, UnknownOutput, UnsupportedArtifact, register, wrap

INPUTS = (Field("a", "INT64", (-1,)), Field("b", "BYTES", (-1,)))
ONE = Signature(INPUTS, (Field("total", "FP64", (-1,)),))
TWO = Signature(INPUTS, (Field("total", "FP64", (-1,)), Field("text", "BYTES", (-1,))))
ROWS = {"a": np.array([1, 2]), "b": np.array(["x", "yy"], dtype=object)}


def lengths(frame):
    return frame["a"] + frame["b"].str.len()


def test_one_output_needs_no_name():
    """With one output the function may return the array or Series itself, converted to the datatype."""
    answer = wrap(lengths, ONE).predict(ROWS)
    assert (answer["total"].dtype, answer["total"].tolist()) == (np.float64, [2.0, 4.0])


def test_several_outputs_come_as_a_dict():
    """With several outputs the function returns a dict; only the wanted ones are given."""
    model = wrap(lambda frame: {"total": lengths(frame), "text": frame["b"].to_numpy()}, TWO)
    assert list(model.predict(ROWS)) == ["total", "text"]
    assert list(model.predict(ROWS, ["text"])) == ["text"]
    with pytest.raises(UnknownOutput, match="ask for total, text"):
        model.predict(ROWS, ["nope"])


def test_a_broken_promise_is_named():
    """A function that does not return what its signature promises is an error that says what is missing."""
    with pytest.raises(InvalidSignature, match="did not return text"):
        wrap(lambda frame: {"total": lengths(frame)}, TWO).predict(ROWS)
    with pytest.raises(InvalidSignature, match="did not return total, text"):
        wrap(lengths, TWO).predict(ROWS)


def test_functions_need_a_signature_and_stay_in_memory(home):
    """Without a signature a function is refused, and functions cannot be registered."""
    with pytest.raises(InvalidSignature, match="signature="):
        wrap(lengths)
    with pytest.raises((InvalidSignature, UnsupportedArtifact)):
        register(lengths, "lengths", home=home)
