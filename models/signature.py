"""What a model takes and gives: named fields with Open Inference Protocol datatypes."""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from serinus.models.errors import InvalidSignature
from serinus.models.expectation import KINDS, PERSONAL, POLICIES, check_expect

__all__ = [
    "DATATYPES",
    "KINDS",
    "PERSONAL",
    "POLICIES",
    "Field",
    "Label",
    "Signature",
    "check_expect",
    "datatype_of",
    "element_name",
    "element_of",
]

FORMAT = 1

Label = str | int | float | bool

DATATYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype(np.uint8),
        "UINT16": np.dtype(np.uint16),
        "UINT32": np.dtype(np.uint32),
        "UINT64": np.dtype(np.uint64),
        "INT8": np.dtype(np.int8),
        "INT16": np.dtype(np.int16),
        "INT32": np.dtype(np.int32),
        "INT64": np.dtype(np.int64),
        "FP16": np.dtype(np.float16),
        "FP32": np.dtype(np.float32),
        "FP64": np.dtype(np.float64),
        "BYTES": np.dtype(object),
    }
)
"""Open Inference Protocol name of every datatype, and the numpy dtype its arrays have (BYTES: objects)."""

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}

_ELEMENT = re.compile(r"(.+)\[(0|[1-9][0-9]{0,8})\]", re.DOTALL)


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Give the protocol's name of a numpy dtype; strings, bytes and objects are BYTES.

    Raises InvalidSignature for dtypes that the protocol cannot carry (complex, dates, records).
    """
    if dtype.kind in "OUST":
        return "BYTES"
    name = _NAMES.get(dtype.newbyteorder("="))
    if name is None:
        raise InvalidSignature(f"Arrays of {dtype} cannot be served: wanted one of {', '.join(DATATYPES)}.")
    return name


def element_name(name: str, index: int) -> str:
    """Give the name under which one tensor of a sequence field travels: `NAME[3]`."""
    return f"{name}[{index}]"


def element_of(name: str) -> tuple[str, int] | None:
    """Part `NAME[3]` into the sequence's name and the index; None for every other name."""
    found = _ELEMENT.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


@dataclass(frozen=True, slots=True)
class Field:
    """One named column or tensor of a signature.

    Attributes:
        name: what requests and answers call it.
        datatype: an Open Inference Protocol name, a key of `DATATYPES`.
        shape: -1 is a variable length and the first dimension is the rows, so a column is `(-1,)` and a
            matrix of 30 columns `(-1, 30)`. Empty means any shape: a scalar, or a graph that does not say.
        optional: values may be missing (None in objects, NaN in floats), and the whole field may be left out.
            An optional output is missing from answers that have no value for it.
        labels: the class labels of an output, or the categories of a categorical input, in the model's order.
        frame_dtype: the pandas dtype the column had in training where the datatype does not say it all
            (`category`, `str`, `Int64`, `datetime64[us]`, …); adapters restore it.
        sequence: any number of tensors of this datatype and shape, which travel as `NAME[0]`, `NAME[1]`, …
            (`element_name`); none of them is the empty sequence, or, where optional, no sequence.
        expect: what is expected of the values beyond their type, declared by a person: `min`, `max`, `categories`,
            `missing` (whether gaps may be), `length` of texts as `[shortest, longest]`, `personal` (hash, drop or
            coarsen before anything is written; false where it only seems to be personal), `on` (kind of violation:
            reject, clip, impute, warn or ignore).
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    labels: tuple[Label, ...] | None = None
    frame_dtype: str | None = None
    sequence: bool = False
    expect: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidSignature(f"A field's name must be a non-empty string, got {self.name!r}.")
        if self.datatype not in DATATYPES:
            raise InvalidSignature(
                f"Field {self.name!r}: unknown datatype {self.datatype!r}; wanted one of {', '.join(DATATYPES)}."
            )
        object.__setattr__(self, "shape", _shape(self.name, self.shape))
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(_label(self.name, label) for label in self.labels))
        if self.expect is not None:
            object.__setattr__(self, "expect", check_expect(self.name, self.expect) or None)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of this field's arrays; object for BYTES."""
        return DATATYPES[self.datatype]

    def to_json(self) -> dict[str, Any]:
        """Give the field as JSON values; what is at its default is left out."""
        document: dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}
        if self.optional:
            document["optional"] = True
        if self.labels is not None:
            document["labels"] = list(self.labels)
        if self.frame_dtype is not None:
            document["frame_dtype"] = self.frame_dtype
        if self.sequence:
            document["sequence"] = True
        if self.expect is not None:
            document["expect"] = dict(self.expect)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Field":
        """Read what `to_json` wrote. Raises InvalidSignature where a key is missing or of the wrong kind."""
        try:
            labels = document.get("labels")
            return cls(
                name=document["name"],
                datatype=document["datatype"],
                shape=tuple(document["shape"]),
                optional=bool(document.get("optional", False)),
                labels=None if labels is None else tuple(labels),
                frame_dtype=document.get("frame_dtype"),
                sequence=bool(document.get("sequence", False)),
                expect=document.get("expect"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidSignature(
                f"A field must be an object with name, datatype and shape, got {document!r}."
            ) from error


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        inputs: the fields of a request, in the model's own order; a model may take none.
        outputs: the fields of an answer.
    """

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]

    def __post_init__(self) -> None:
        for side, fields in (("input", self.inputs), ("output", self.outputs)):
            for name in _repeated(field.name for field in fields):
                raise InvalidSignature(f"The signature has two {side}s named {name!r}; names must differ.")
            _refuse_ambiguity(side, fields)

    def input(self, name: str) -> Field:
        """Give the input of this name; `NAME[3]` is a tensor of the sequence `NAME`.

        Raises InvalidSignature where there is none.
        """
        return _lookup(self._inputs, "input", name)

    def output(self, name: str) -> Field:
        """Give the output of this name; `NAME[3]` is a tensor of the sequence `NAME`.

        Raises InvalidSignature where there is none.
        """
        return _lookup(self._outputs, "output", name)

    @cached_property
    def _inputs(self) -> dict[str, Field]:
        return {field.name: field for field in self.inputs}

    @cached_property
    def _outputs(self) -> dict[str, Field]:
        return {field.name: field for field in self.outputs}

    def to_json(self) -> dict[str, Any]:
        """Give the signature as JSON values, marked with its format."""
        return {
            "format": FORMAT,
            "inputs": [field.to_json() for field in self.inputs],
            "outputs": [field.to_json() for field in self.outputs],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Signature":
        """Read what `to_json` wrote. Raises InvalidSignature for another format or missing parts."""
        found = document.get("format") if isinstance(document, Mapping) else None
        if found != FORMAT:
            raise InvalidSignature(
                f"This signature has format {found!r}, and this Serinus reads format {FORMAT}; "
                "read it with the Serinus that wrote it, or register the model again."
            )
        return cls(_fields(document, "inputs"), _fields(document, "outputs"))

    def incompatibilities(self, older: "Signature") -> list[str]:
        """Say why a model with this signature could not answer every request that `older` answers.

        Empty means compatible. An input that only `older` has is no obstacle: models ignore fields they do
        not know. A new input is one only if it is required.
        """
        sentences = [sentence for field in self.inputs for sentence in _input_obstacles(field, older)]
        return sentences + [sentence for field in older.outputs for sentence in _output_obstacles(field, self)]


def _input_obstacles(new: Field, older: Signature) -> Iterator[str]:
    old = older._inputs.get(new.name)
    if old is None:
        if not new.optional:
            yield f"Input {new.name!r} is new and required; older requests do not send it."
        return
    if new.datatype != old.datatype:
        yield f"Input {new.name!r} changed its datatype from {old.datatype} to {new.datatype}."
    if new.sequence != old.sequence:
        yield f"Input {new.name!r} {_became(old, new)}."
    elif not _covers(new.shape, old.shape):
        yield f"Input {new.name!r} changed its shape from {list(old.shape)} to {list(new.shape)}."
    if old.optional and not new.optional:
        yield f"Input {new.name!r} was optional and is now required."


def _output_obstacles(old: Field, newer: Signature) -> Iterator[str]:
    new = newer._outputs.get(old.name)
    if new is None:
        yield f"Output {old.name!r} is missing."
        return
    if new.datatype != old.datatype:
        yield f"Output {old.name!r} changed its datatype from {old.datatype} to {new.datatype}."
    if new.optional and not old.optional:
        yield f"Output {old.name!r} was always given and may now be missing."
    if new.sequence != old.sequence:
        yield f"Output {old.name!r} {_became(old, new)}."
    elif not _covers(old.shape, new.shape):
        yield f"Output {old.name!r} changed its shape from {list(old.shape)} to {list(new.shape)}."
    elif len(old.shape) > 1 and old.labels and new.labels and old.labels != new.labels:
        yield f"Output {old.name!r} changed what its columns mean from {list(old.labels)} to {list(new.labels)}."


def _became(old: Field, new: Field) -> str:
    return f"was {_kind(old)} and is now {_kind(new)}"


def _kind(field: Field) -> str:
    return "a sequence of tensors" if field.sequence else "one tensor"


def _covers(wide: tuple[int, ...], narrow: tuple[int, ...]) -> bool:
    return not wide or (len(wide) == len(narrow) and all(w in (-1, n) for w, n in zip(wide, narrow, strict=True)))


def _shape(name: str, shape: Iterable[int]) -> tuple[int, ...]:
    lengths = tuple(shape)
    if any(type(length) is not int or length < -1 for length in lengths):
        raise InvalidSignature(
            f"Field {name!r}: a shape is a list of lengths, -1 for a variable one, got {list(lengths)}."
        )
    return lengths


def _label(name: str, label: Any) -> Label:
    value = label.item() if isinstance(label, np.generic) else label
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidSignature(f"Field {name!r}: a label is a string, a finite number or a boolean, got {label!r}.")
    return value


def _repeated(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)


def _refuse_ambiguity(side: str, fields: Iterable[Field]) -> None:
    sequences = {field.name for field in fields if field.sequence}
    for field in fields if sequences else ():
        element = element_of(field.name)
        if element is not None and element[0] in sequences:
            raise InvalidSignature(
                f"The {side} {field.name!r} is called like a tensor of the sequence {element[0]!r}; rename one of them."
            )


def _fields(document: Mapping[str, Any], side: str) -> tuple[Field, ...]:
    fields = document.get(side)
    if not isinstance(fields, list):
        raise InvalidSignature(f"A signature needs a list of {side}, got {fields!r}.")
    return tuple(Field.from_json(field) for field in fields)


def _lookup(fields: Mapping[str, Field], side: str, name: str) -> Field:
    try:
        return fields[name]
    except KeyError:
        element = element_of(name)
        if element is not None and element[0] in fields and fields[element[0]].sequence:
            return fields[element[0]]
        raise InvalidSignature(f"No {side} is named {name!r}; there are {', '.join(fields) or 'none'}.") from None
