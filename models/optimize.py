"""A version made faster, and proved to answer alike: `optimize` registers it as the next version.

A scikit-learn model becomes an ONNX graph that takes and gives the same by the same names. Both answer the user's rows,
and the graph is registered only if the answers agree; what was compared and measured goes with it as an attachment.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.adapters import adapter_named
from serinus.models.adapters.onnx import OnnxAdapter
from serinus.models.checks import CHECK, Check
from serinus.models.errors import InvalidSignature, one_line
from serinus.models.lineage import Lineage
from serinus.models.loading import check_version_trust, verify
from serinus.models.model import Model
from serinus.models.onnx_conversion import PRECISIONS, NotConvertible, convert, require
from serinus.models.parity import Parity, compare
from serinus.models.quantization import Cost, cost_of, quantized
from serinus.models.registry import Registry
from serinus.models.signature import Field, Signature
from serinus.models.speed import Speed, measure_speed
from serinus.models.synthetic import synthetic_rows
from serinus.models.trust import Trust
from serinus.models.version import ModelVersion

if TYPE_CHECKING:
    from onnx import ModelProto
    from pandas import DataFrame

__all__ = ["ATTACHMENT", "Optimization", "optimize", "rows_of"]

ATTACHMENT = "optimize.json"
"""The name under which the numbers are kept with the new version."""

FORMAT = 1
_GAP_ROWS = 16
_SPEED_ROWS = (1, 64)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Optimization:
    """A version, what it was made of, and the proof.

    Attributes:
        parent: the version that it was made of.
        version: the new version, or the one that was there already with the same digest and signature.
        method: what was done, in a few words.
        parity: how far the answers to all rows are apart.
        gaps: the same for rows in which one optional column is missing, by its name.
        cost: what quantisation costs in accuracy; None where nothing was quantised.
        speed: the speed-up, by rows of a call.
    """

    parent: ModelVersion
    version: ModelVersion
    method: str
    parity: Parity
    gaps: Mapping[str, Parity]
    cost: Cost | None
    speed: tuple[Speed, ...]

    def to_json(self) -> dict[str, Any]:
        """Give all of it as JSON values."""
        return {"tag": self.version.tag, "parent": self.parent.tag} | _document(
            self.method, self.parity, self.gaps, self.cost, self.speed
        )


def optimize(
    parent: ModelVersion,
    data: "DataFrame",
    *,
    registry: Registry,
    trust: Trust | None = None,
    target: str | None = None,
    tolerance: float = 1e-5,
    quantize: bool = False,
    max_cost: float = 0.01,
    clock: Callable[[], float] = time.perf_counter,
) -> Optimization:
    """Make a faster version of a model, prove that it answers alike, and register it as the next one.

    Args:
        parent: the version to start from: a scikit-learn model; with `quantize` an ONNX graph too.
        data: rows like those it is asked, over which the answers are compared.
        registry: where the new version goes.
        trust: the digests that may run code, for the parent's artifact.
        target: the column of `data` with the ground truth, for the cost of quantisation; it is no input.
        tolerance: how far numbers may be apart, absolute below 1 and relative above; no label may change.
        quantize: make weights 8-bit integers; then `max_cost` decides, not `tolerance`.
        max_cost: how much accuracy quantisation may cost, as `Cost.cost`.
        clock: gives seconds, to measure the speed-up.

    Raises:
        NotConvertible: it cannot be expressed in ONNX, or the answers are too far apart; the parent stays as it is.
        InvalidSignature: `data` do not fit the model.
        ModelError: a package is missing; see also `serinus.models.load`.
    """
    require()
    rows, truth = rows_of(data, parent.signature, target)
    fitted, model = _opened(parent, Trust() if trust is None else trust)
    trial = _converted(parent, fitted, model, rows, tolerance, quantize)
    cost = None
    if quantize:
        trial = _quantized(parent, trial, model, rows)
        cost = cost_of(parent.signature, model.predict(rows), trial.model.predict(rows), truth)
        if not cost.cost <= max_cost:
            raise _refused(parent, [f"{trial.method}: {cost}"], f"a cost of at most {max_cost:g} (--max-cost)")
    speed = tuple(measure_speed(model, trial.model, rows, count, clock=clock) for count in _SPEED_ROWS)
    made = _registered(parent, trial, cost, speed, registry, data)
    return Optimization(parent, made, trial.method, trial.parity, trial.gaps, cost, speed)


def rows_of(
    data: "DataFrame", signature: Signature, target: str | None = None
) -> tuple[dict[str, NDArray[Any]], NDArray[Any] | None]:
    """Give a frame's rows as `Model.predict` takes them, and the ground truth where `target` names it.

    Raises InvalidSignature where the frame does not fit.
    """
    from serinus.models.frame import MATRIX, arrays_of

    if len(data) == 0:
        raise InvalidSignature("The data have no rows; give rows like those the model is asked.")
    if target is not None and target not in data.columns:
        raise InvalidSignature(
            f"The data have no target column {target!r}; their columns are {', '.join(map(str, data.columns))}."
        )
    truth = None if target is None else data[target].to_numpy()
    features = data if target is None else data.drop(columns=target)
    (first, *more) = signature.inputs
    try:
        if not more and first.name == MATRIX and MATRIX not in features.columns:
            return {MATRIX: _matrix(features, first)}, truth
        return arrays_of(features, signature.inputs), truth
    except (ValueError, TypeError) as error:
        raise InvalidSignature(f"The data do not fit the model: {one_line(error)}.") from error


def _matrix(features: "DataFrame", field: Field) -> NDArray[Any]:
    width = 1 if len(field.shape) == 1 else field.shape[1]
    if features.shape[1] != width and width != -1:
        raise InvalidSignature(
            f"The model takes {width} columns and the data have {features.shape[1]}; "
            "give the same columns, and name the target."
        )
    matrix = features.to_numpy(dtype=field.dtype)
    return matrix.reshape(-1) if len(field.shape) == 1 else matrix


def _opened(version: ModelVersion, trust: Trust) -> tuple[Any, Model]:
    """Read a version's artifact, its digest and trust checked, and make a model of it too."""
    verify(version)
    check_version_trust(version, trust)
    adapter = adapter_named(version.adapter)
    fitted = adapter.read(version.path / version.artifact)
    return fitted, adapter.wrap(fitted, version.signature)


@dataclass(frozen=True)
class _Trial:
    """A graph that might become the next version, and how its answers compare."""

    method: str
    proto: "ModelProto"
    model: Model
    parity: Parity
    gaps: Mapping[str, Parity]

    @classmethod
    def of(cls, method: str, proto: "ModelProto", signature: Signature, original: Model, rows: Arrays) -> "_Trial":
        """Load a graph and compare it. Raises NotConvertible where it cannot run, or is no replacement."""
        try:
            adapter = OnnxAdapter()
            obstacles = adapter.infer_signature(proto).incompatibilities(signature)
            model = adapter.wrap(proto, signature)
            parity = compare(signature, original.predict(rows), model.predict(rows))
            gaps = dict(_gaps(signature, original, model, rows))
        except Exception as error:
            raise NotConvertible(f"the graph does not run ({one_line(error)})") from error
        if obstacles:
            raise NotConvertible(f"the graph cannot stand in for it ({' '.join(obstacles)})")
        return cls(method, proto, model, parity, gaps)

    def within(self, tolerance: float) -> bool:
        return all(parity.within(tolerance) for parity in (self.parity, *self.gaps.values()))

    def findings(self) -> str:
        """The numbers, those of the columns' gaps only where they are not perfect."""
        gaps = [f"without {name} {parity}" for name, parity in self.gaps.items() if not parity.within(0)]
        return "; ".join([f"{self.method}: {self.parity}", *gaps])


def _gaps(signature: Signature, original: Model, model: Model, rows: Arrays) -> Iterator[tuple[str, Parity]]:
    """Compare the answers to rows in which an optional field is missing, as gaps and left out."""
    few = {name: array[:_GAP_ROWS] for name, array in rows.items()}
    for field in signature.inputs:
        if not field.optional:
            continue
        gap = np.full(few[field.name].shape, None if field.datatype == "BYTES" else np.nan, dtype=field.dtype)
        rest = {name: array for name, array in few.items() if name != field.name}
        expected = original.predict({**few, field.name: gap})
        with_gap = compare(signature, expected, model.predict({**few, field.name: gap}))
        left_out = compare(signature, expected, model.predict(rest)) if rest else with_gap
        yield field.name, max(with_gap, left_out, key=lambda parity: (parity.changed_share, parity.excess))


def _converted(
    parent: ModelVersion, fitted: Any, model: Model, rows: Arrays, tolerance: float, quantize: bool
) -> _Trial:
    """Convert in the first precision whose answers agree; one that is quantised need not agree."""
    if parent.adapter == "onnx" and quantize:
        return _Trial.of("as it is", _proto_of(parent), parent.signature, model, rows)
    if parent.adapter != "sklearn":
        what = "an ONNX graph already; --quantize is what is left" if parent.adapter == "onnx" else (
            f"served by the adapter {parent.adapter!r}, and only scikit-learn models are converted")  # fmt: skip
        raise NotConvertible(f"{parent.tag} stays as it is: it is {what}.")
    failures: list[str] = []
    reasons: list[str] = []
    for method, how in _ways(parent.signature):
        try:
            trial = _Trial.of(method, convert(fitted, parent.signature, **how), parent.signature, model, rows)
        except NotConvertible as error:
            reasons.append(one_line(error))
            continue
        if quantize or trial.within(tolerance):
            return trial
        failures.append(trial.findings())
    if not failures:
        raise NotConvertible(f"{parent.tag} cannot be converted to ONNX and stays as it is: {reasons[0]}.")
    raise _refused(parent, failures, f"no label changed and differences of at most {tolerance:g} (--tolerance)")


def _ways(signature: Signature) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the ways to convert, the fastest first."""
    whole = any(field.datatype.startswith(("INT", "UINT", "BOOL")) for field in signature.inputs)
    for precision, words in PRECISIONS.items():
        for exact in (True, False) if whole else (True,):
            how = {"precision": precision, "exact_integers": exact}
            yield f"ONNX in {words} precision" + ("" if exact else ", whole numbers included"), how


def _refused(parent: ModelVersion, findings: Sequence[str], wanted: str) -> NotConvertible:
    return NotConvertible(f"{parent.tag} stays as it is, and nothing was registered: {'; '.join(findings)}; "
                          f"wanted {wanted}.")  # fmt: skip


def _proto_of(version: ModelVersion) -> "ModelProto":
    import onnx

    return onnx.load(version.path / version.artifact)


def _quantized(parent: ModelVersion, trial: _Trial, model: Model, rows: Arrays) -> _Trial:
    method = "ONNX with 8-bit weights"
    try:
        return _Trial.of(method, quantized(trial.proto), parent.signature, model, rows)
    except NotConvertible as error:
        raise NotConvertible(f"{parent.tag} stays as it is: {one_line(error)}.") from error


def _registered(
    parent: ModelVersion, trial: _Trial, cost: Cost | None, speed: Sequence[Speed], registry: Registry,
    data: "DataFrame",
) -> ModelVersion:  # fmt: skip
    signature = parent.signature
    document = {"format": FORMAT, "parent": parent.tag} | _document(
        trial.method, trial.parity, trial.gaps, cost, speed
    )
    attachments = {ATTACHMENT: json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"}
    check = Check.of(trial.model, synthetic_rows(signature, data))
    kept = check.to_bytes() if check else None
    with tempfile.TemporaryDirectory() as folder:
        return registry.add(
            parent.name,
            OnnxAdapter().save(trial.proto, Path(folder)),
            adapter="onnx",
            signature=signature,
            attachments=attachments | ({CHECK: kept} if kept else {}),
            card=parent.card,
            lineage=_lineage(parent, trial.method),
        )


def _lineage(parent: ModelVersion, method: str) -> Lineage:
    """The training data are the parent's; code and person are those of now."""
    known = replace(parent.lineage, commit=None, dirty=None, who=None, origin=None)
    return replace(known, parent=parent.tag, step=f"optimize: {method}").completed()


def _document(
    method: str, parity: Parity, gaps: Mapping[str, Parity], cost: Cost | None, speed: Sequence[Speed]
) -> dict[str, Any]:
    return {
        "method": method,
        "parity": parity.to_json(),
        "gaps": {name: gap.to_json() for name, gap in gaps.items()},
        "cost": cost.to_json() if cost else None,
        "speed": [one.to_json() for one in speed],
    }
