"""A signature says what a model takes and gives, survives JSON, and knows what it could not stand in for."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.models.errors import InvalidSignature
from serinus.models.signature import DATATYPES, Field, Signature, datatype_of, element_name, element_of

labels = st.one_of(
    st.text(max_size=5), st.integers(-(2**53), 2**53), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
)
fields = st.builds(
    Field,
    name=st.text(min_size=1, max_size=8),
    datatype=st.sampled_from(sorted(DATATYPES)),
    shape=st.lists(st.integers(-1, 50), max_size=3).map(tuple),
    optional=st.booleans(),
    labels=st.none() | st.lists(labels, max_size=4).map(tuple),
    frame_dtype=st.none() | st.sampled_from(["category", "str", "Int64"]),
    sequence=st.booleans(),
)
several = st.lists(fields, max_size=4, unique_by=lambda field: field.name).map(tuple)
signatures = st.builds(Signature, inputs=several, outputs=several)

AGE = Field("age", "FP64", (-1,))
CITY = Field("city", "BYTES", (-1,), optional=True)
CLASS = Field("predict", "INT64", (-1,), labels=(0, 1))
PROBABILITY = Field("predict_proba", "FP64", (-1, 2), labels=(0, 1))
OLDER = Signature((AGE, CITY), (CLASS, PROBABILITY))
WORDS = Field("words", "BYTES", (), sequence=True)
ANY = Field("any", "FP32", ())


@given(signatures)
def test_json_round_trip(signature):
    """What `to_json` writes, `from_json` reads back, through real JSON text."""
    document = json.loads(json.dumps(signature.to_json(), allow_nan=False))
    assert signature == Signature.from_json(document)


@given(signatures)
def test_compatible_with_itself(signature):
    """Every signature can stand in for itself."""
    assert signature.incompatibilities(signature) == []


def test_older_documents_are_read():
    """What was written before sequences existed has none, and a field without them is still written like that."""
    document = {"name": "age", "datatype": "FP64", "shape": [-1]}
    assert Field.from_json(document) == AGE
    assert document == AGE.to_json()


@given(signatures)
def test_every_input_is_found(signature):
    """Each input is found by its name, and a sequence by the name of each of its tensors too."""
    for field in signature.inputs:
        assert field is signature.input(field.name)
        if field.sequence:
            assert field is signature.input(element_name(field.name, 12))


@given(st.text(min_size=1), st.integers(0, 10**9 - 1))
def test_the_names_of_a_sequence_s_tensors(name, index):
    """A tensor's name says its sequence and its place, whatever the sequence is called."""
    assert (name, index) == element_of(element_name(name, index))


@pytest.mark.parametrize("name", ["words", "words[]", "words[01]", "words[-1]", "words[1] ", "[1]", "words[1e3]", ""])
def test_names_of_no_sequence(name):
    """A place is a plain number in brackets at the end of a name; nothing else is one."""
    assert element_of(name) is None


def test_a_field_called_like_a_tensor_of_a_sequence():
    """Names that could mean two things are refused; brackets alone are no sequence."""
    with pytest.raises(InvalidSignature, match=r"'words\[0\]' is called like a tensor of the sequence 'words'"):
        Signature((WORDS, Field("words[0]", "BYTES", ())), ())
    other = Field("age[0]", "FP64", (-1,))
    assert other is Signature((AGE, other), ()).input("age[0]")
    with pytest.raises(InvalidSignature, match="No input is named"):
        Signature((AGE,), ()).input("age[0]")


@pytest.mark.parametrize("document", [{}, {"format": 2, "inputs": [], "outputs": []}, [], None])
def test_unknown_format_is_refused(document):
    """A signature of another format is refused in a sentence that says which formats are read."""
    with pytest.raises(InvalidSignature, match="reads format 1"):
        Signature.from_json(document)


@pytest.mark.parametrize(
    "document", [{"format": 1}, {"format": 1, "inputs": {}, "outputs": []}, {"format": 1, "inputs": [{"name": "a"}]}]
)
def test_missing_parts_are_refused(document):
    """A document without its lists, or a field without its parts, is refused."""
    with pytest.raises(InvalidSignature):
        Signature.from_json(document)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"datatype": "FLOAT"},
        {"shape": (-2,)},
        {"shape": (1.5,)},
        {"labels": (None,)},
        {"labels": (float("nan"),)},
    ],
)
def test_impossible_fields_are_refused(wrong):
    """Empty names, unknown datatypes, impossible shapes and unwritable labels never make a field."""
    with pytest.raises(InvalidSignature):
        Field(**({"name": "a", "datatype": "FP64", "shape": (-1,)} | wrong))


def test_names_differ():
    """Two fields of one side cannot share a name."""
    with pytest.raises(InvalidSignature, match="two inputs named 'age'"):
        Signature((AGE, AGE), ())


def test_lookup():
    """Fields are found by name; a wrong name is answered with the right ones."""
    assert AGE is OLDER.input("age")
    assert PROBABILITY is OLDER.output("predict_proba")
    with pytest.raises(InvalidSignature, match="there are age, city"):
        OLDER.input("agee")


@pytest.mark.parametrize("name", sorted(DATATYPES))
def test_datatypes_and_dtypes_agree(name):
    """Every datatype has one numpy dtype, and back."""
    assert name == datatype_of(DATATYPES[name])


@pytest.mark.parametrize("dtype", ["U5", "S3", object])
def test_texts_are_bytes(dtype):
    """Strings of any numpy kind are BYTES."""
    assert datatype_of(np.dtype(dtype)) == "BYTES"


@pytest.mark.parametrize("dtype", ["complex128", "datetime64[ns]"])
def test_other_dtypes_are_refused(dtype):
    """What the protocol cannot carry is refused."""
    with pytest.raises(InvalidSignature):
        datatype_of(np.dtype(dtype))


@pytest.mark.parametrize(
    ("newer", "sentence"),
    [
        (Signature((AGE, CITY), (CLASS,)), "Output 'predict_proba' is missing."),
        (Signature((AGE, CITY, Field("job", "BYTES", (-1,))), OLDER.outputs), "Input 'job' is new and required"),
        (Signature((Field("age", "INT64", (-1,)), CITY), OLDER.outputs), "datatype from FP64 to INT64"),
        (Signature((Field("age", "FP64", (-1, 2)), CITY), OLDER.outputs), r"shape from \[-1\] to \[-1, 2\]"),
        (Signature((AGE, Field("city", "BYTES", (-1,))), OLDER.outputs), "was optional and is now required"),
        (
            Signature(OLDER.inputs, (CLASS, Field("predict_proba", "FP64", (-1, 2), labels=(1, 0)))),
            r"columns mean from \[0, 1\] to \[1, 0\]",
        ),
        (Signature((Field("age", "FP64", (-1,), sequence=True), CITY), OLDER.outputs), "tensor and is now a sequence"),
        (Signature(OLDER.inputs, (Field("predict", "INT64", ()), PROBABILITY)), r"shape from \[-1\] to \[\]"),
        (
            Signature(OLDER.inputs, (Field("predict", "INT64", (-1,), optional=True), PROBABILITY)),
            "always given and may now be missing",
        ),
        (
            Signature(OLDER.inputs, (Field("predict", "INT64", (-1,), sequence=True), PROBABILITY)),
            "Output 'predict' was one tensor and is now a sequence of tensors",
        ),
    ],
)
def test_incompatibilities(newer, sentence):
    """Each obstacle to older requests is one sentence that names the field."""
    (found,) = newer.incompatibilities(OLDER)
    assert re.search(sentence, found)


@pytest.mark.parametrize(
    "newer",
    [
        Signature((AGE,), OLDER.outputs),
        Signature((*OLDER.inputs, Field("job", "BYTES", (-1,), optional=True)), OLDER.outputs),
        Signature((Field("age", "FP64", (-1,), optional=True), CITY), (*OLDER.outputs, Field("more", "FP64", (-1,)))),
        Signature((Field("age", "FP64", ()), CITY), OLDER.outputs),
    ],
)
def test_harmless_changes(newer):
    """A dropped input, a new optional one, a further output, a wider shape, a field that may miss hinder nobody."""
    assert newer.incompatibilities(OLDER) == []


def test_an_input_of_any_shape_gets_no_narrower():
    """Who took any shape cannot be replaced by who takes some; an output may become more precise."""
    taken = Signature((ANY,), (ANY,))
    narrow = Field("any", "FP32", (-1, 2))
    assert Signature((narrow,), (ANY,)).incompatibilities(taken) == [
        "Input 'any' changed its shape from [] to [-1, 2]."
    ]
    assert Signature((ANY,), (narrow,)).incompatibilities(taken) == []
