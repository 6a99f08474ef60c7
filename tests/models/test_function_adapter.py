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


def test_answers_come_in_the_promised_form():
    """Frames, sparse matrices and fixed-width strings become arrays of the signature's datatypes and shapes."""
    from scipy.sparse import csr_matrix

    fields = (Field("text", "BYTES", (-1,)), Field("both", "FP64", (-1, 2)), Field("one", "FP32", (-1,)))
    answers = {"text": np.array(["x", "yy"]), "both": csr_matrix([[1, 0], [0, 2]]), "one": np.array([[1.0], [2.0]])}
    answer = wrap(lambda frame: answers, Signature(INPUTS, fields)).predict(ROWS)
    assert [type(value) for value in answer["text"]] == [str, str]
    assert answer["both"].tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert (answer["one"].dtype, answer["one"].tolist()) == (np.float32, [1.0, 2.0])


def test_an_answer_of_another_kind_is_named():
    """Words where numbers were promised are the function's fault, in one sentence."""
    with pytest.raises(InvalidSignature, match="not what its signature promises: could not convert string"):
        wrap(lambda frame: frame["b"], ONE).predict(ROWS)
    with pytest.raises(InvalidSignature, match=r"an answer of shape \[2, 2\], where \[-1\] was promised"):
        wrap(lambda frame: np.zeros((2, 2)), ONE).predict(ROWS)


def test_functions_need_a_signature_and_stay_in_memory(home):
    """Without a signature a function is refused, and functions cannot be registered."""
    with pytest.raises(InvalidSignature, match="signature="):
        wrap(lengths)
    with pytest.raises((InvalidSignature, UnsupportedArtifact)):
        register(lengths, "lengths", home=home)
