"""What a client gets for its inputs: outputs by name or by row, and what the server says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.models.signature import DATATYPES
from serinus.serving.client.call import Reply
from serinus.serving.errors import Violation
from serinus.serving.request import Referred

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Answer", "Remarks", "read_rows", "read_tensors"]

_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


@dataclass(frozen=True, slots=True)
class Remarks:
    """What the header `x-serinus-monitor` says: of this request's values and rows, and of the stream that it is in."""

    schema: str = "off"
    """`ok`, or `warn` where the answer lists violations."""
    novelty_p: float | None = None
    """The smallest novelty p-value of the rows: as unusual as this share of the reference's."""
    drift: str = "off"
    """`learning`, `collecting`, `ok`, `warn`, `alarm`, `act` or `off`; not about this request, but about the stream."""
    evidence: float | None = None
    """How far the evidence of drift is on its way to an alarm; 1 is one."""

    @classmethod
    def parse(cls, header: str) -> Remarks:
        """Read the header; without one nothing is watched.

        >>> Remarks.parse("schema=ok; novelty_p=0.004; drift=ok@2026-01-01T12:00:00Z; evidence=0.12").drift
        'ok'
        """
        found = dict(part.strip().partition("=")[::2] for part in header.split(";") if "=" in part)
        return cls(found.get("schema", "off"), _number(found.get("novelty_p")),
                   found.get("drift", "off").partition("@")[0], _number(found.get("evidence")))


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one inference request.

    `outputs` has every output by its name, an array whose first dimension is the rows (in a model that is not made of
    rows, the whole tensor). `answer["label"]` is one of them, `answer.predictions` one dict for each row, and
    `answer.to_pandas()` a DataFrame whose index are the prediction ids: keep these, to tell later what became of it.
    """

    model: str
    version: str
    """The version that answered."""
    role: str
    """Why this one: it is `stable`, or a `candidate` on trial."""
    request_id: str
    prediction_ids: tuple[str, ...]
    """One for each row."""
    outputs: Mapping[str, NDArray[Any]]
    violations: tuple[Violation, ...] = ()
    """Values that broke an expectation, and what was done about them (100 at most)."""
    violation_count: int = 0
    referred: tuple[Referred, ...] = ()
    """Rows that a person should decide, and why."""
    novelty_p: tuple[float | None, ...] | None = None
    """Each row's novelty p-value, where `novelty=True` asked for them."""
    remarks: Remarks = Remarks()
    trace_id: str = ""
    """Of the server's trace of this request; empty where it makes none."""

    def __getitem__(self, output: str) -> NDArray[Any]:
        return self.outputs[output]

    def __len__(self) -> int:
        return len(self.prediction_ids)

    @cached_property
    def predictions(self) -> list[dict[str, Any]]:
        """One dict for each row; one for all where the outputs are not one per row."""
        if any(array.shape[:1] != (len(self),) for array in self.outputs.values()):
            return [{name: array.tolist() for name, array in self.outputs.items()}]
        names, columns = list(self.outputs), [array.tolist() for array in self.outputs.values()]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame with a row for each prediction, by its id; an output with several numbers is several columns,
        `NAME[0]`, `NAME[1]`, …"""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name, array in self.outputs.items():
            if array.ndim == 1:
                columns[name] = array
            else:
                flat = array.reshape(len(array), -1)
                columns |= {f"{name}[{place}]": flat[:, place] for place in range(flat.shape[1])}
        return pd.DataFrame(columns, index=pd.Index(self.prediction_ids, name="prediction_id"))


def read_rows(reply: Reply) -> Answer:
    """The answer to `POST /predict`."""
    document = reply.json()
    predictions = document["predictions"]
    ids = tuple(document["prediction_ids"])
    if len(predictions) == len(ids):
        names = predictions[0] if predictions else ()
        outputs = {name: _array([row[name] for row in predictions]) for name in names}
    else:
        outputs = {name: _array(value) for name, value in predictions[0].items()}
    return _answer(reply, document, document["version"], ids, outputs, document)


def read_tensors(rows: int) -> Any:
    """Reads the answer to `POST /v2/models/NAME/infer` for so many rows."""
    def read(reply: Reply) -> Answer:
        length = reply.headers.get("inference-header-content-length")
        document, tail = _split(reply, None if length is None else int(length))
        outputs, start = {}, 0
        for tensor in document["outputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size")
            if size is None:
                outputs[tensor["name"]] = _array(tensor["data"], tensor).reshape(tensor["shape"])
            else:
                outputs[tensor["name"]] = _unpacked(tail[start:start + size], tensor)
                start += size
        told = document["parameters"]
        ids = tuple(f"{told['prediction_id']}-{row}" for row in range(rows))
        said = {name: orjson.loads(told[name]) if isinstance(told[name], str) else told[name]
                for name in ("violations", "violation_count", "refer", "novelty_p") if name in told}
        return _answer(reply, document | told, document["model_version"], ids, outputs, said)
    return read


def _answer(reply: Reply, document: Mapping[str, Any], version: str, ids: tuple[str, ...],
            outputs: Mapping[str, NDArray[Any]], said: Mapping[str, Any]) -> Answer:
    violations = tuple(Violation(**found) for found in said.get("violations", ()))
    novelty = said.get("novelty_p")
    return Answer(
        str(document.get("model") or document.get("model_name")), str(version), document["role"],
        reply.headers.get("x-request-id", ""), ids, outputs, violations,
        int(said.get("violation_count", len(violations))), tuple(Referred(**found) for found in said.get("refer", ())),
        None if novelty is None else tuple(novelty), Remarks.parse(reply.headers.get("x-serinus-monitor", "")),
        reply.headers.get("traceparent", "--").split("-")[1])


def _split(reply: Reply, length: int | None) -> tuple[dict[str, Any], memoryview]:
    if length is None:
        return reply.json(), memoryview(b"")
    return orjson.loads(reply.body[:length]), memoryview(reply.body)[length:]


def _unpacked(data: memoryview, tensor: Mapping[str, Any]) -> NDArray[Any]:
    if tensor["datatype"] != "BYTES":
        dtype = DATATYPES[tensor["datatype"]]
        return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(tensor["shape"])
    texts, place = [], 0
    while place < len(data):
        end = place + 4 + int.from_bytes(data[place:place + 4], "little")
        texts.append(str(data[place + 4:end], "utf-8"))
        place = end
    return _objects(texts).reshape(tensor["shape"])


def _array(values: Any, tensor: Mapping[str, Any] | None = None) -> NDArray[Any]:
    """JSON values as an array: of the datatype where it is told, else of what they are; text and gaps as objects."""
    if tensor is not None and tensor["datatype"] != "BYTES":
        return np.array([_SPECIAL.get(value, value) if isinstance(value, str) else value for value in values],
                        DATATYPES[tensor["datatype"]])
    if not isinstance(values, list):
        return np.array(values)
    flat = np.array(values, dtype=object)
    kinds = {type(value) for value in flat.ravel()}
    if kinds and kinds <= {int, float} and len(kinds) == 1:
        return flat.astype(kinds.pop())
    if kinds == {bool}:
        return flat.astype(np.bool_)
    if float in kinds and kinds <= {float, int, str} and {v for v in flat.ravel() if type(v) is str} <= _SPECIAL.keys():
        return np.array([_SPECIAL.get(value, value) for value in flat.ravel()], np.float64).reshape(flat.shape)
    return flat


def _objects(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
