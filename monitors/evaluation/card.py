"""The facts of an evaluation for people and for other tools: a model card, and a CycloneDX ML-BOM.

The card is Markdown with Hugging Face's front matter, whose `model-index` holds the metrics. The bill of materials is
CycloneDX 1.5, a component of type `machine-learning-model` with its `modelCard`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from serinus.models.version import ModelVersion
from serinus.monitors.evaluation.compare import Compared, Comparison
from serinus.monitors.evaluation.fairness import FairnessFound
from serinus.monitors.evaluation.gate import Gate
from serinus.monitors.intervals import Interval

__all__ = ["bill_of_materials", "model_card"]

_LIBRARIES = {"sklearn": "sklearn", "onnx": "onnx"}


def model_card(gate: Gate, version: ModelVersion) -> str:
    """Give the card."""
    front = "\n".join(_front(gate, version))
    return f"---\n{front}\n---\n\n" + "\n".join(_body(gate, version)) + "\n"


def _metrics(gate: Gate) -> tuple[Compared, ...]:
    found = gate.check("metrics").details
    return found.metrics if isinstance(found, Comparison) else ()


def _task(gate: Gate) -> str:
    return "tabular-classification" if gate.classes else "tabular-regression"


def _text(value: str) -> str:
    """A YAML string: JSON's are some of these."""
    return json.dumps(value, ensure_ascii=False)


def _front(gate: Gate, version: ModelVersion) -> Iterator[str]:
    card = version.card
    if card.license:
        yield f"license: {_text(card.license)}"
    yield f"library_name: {_text(_LIBRARIES.get(version.adapter, version.adapter))}"
    yield f"pipeline_tag: {_task(gate)}"
    if card.tags:
        yield "tags:"
        yield from (f"- {_text(tag)}" for tag in card.tags)
    yield "model-index:"
    yield f"- name: {_text(version.tag)}"
    yield "  results:"
    yield f"  - task:\n      type: {_task(gate)}"
    yield f"    dataset:\n      type: tabular\n      name: {_text(gate.evaluated.data)}"
    yield "    metrics:"
    for one in _metrics(gate):
        yield f"    - type: {one.metric}\n      name: {_text(one.title)}\n      value: {one.value:.6g}"


def _body(gate: Gate, version: ModelVersion) -> Iterator[str]:
    card = version.card
    yield f"# {version.tag}\n"
    if card.description:
        yield f"{card.description}\n"
    yield f"**Evaluation gate: {gate.verdict}.** {gate.sentence}\n"
    for title, text in (("Intended use", card.intended_use), ("Limitations", card.limitations),
                        ("Training data", card.training_data), ("Owner", card.owner)):
        if text:
            yield f"## {title}\n\n{text}\n"
    yield from _evaluation(gate)
    yield from _checks(gate)
    yield from _fields(version)


def _evaluation(gate: Gate) -> Iterator[str]:
    what = gate.evaluated
    yield "## Evaluation\n"
    left = f", {what.left_out:,} left out" if what.left_out else ""
    yield (f"{what.rows:,} rows of `{what.data}` (`{what.digest[:19]}…`){left}, against "
           f"{what.against or 'a trivial answer'}, at {what.at}.\n")
    yield "| metric | value | interval | difference | interval |\n|---|---|---|---|---|"
    for one in _metrics(gate):
        yield (f"| {one.title} | {one.value:.4g} | {_span(one.interval)} | {one.difference:+.3g} | "
               f"{_span(one.difference_interval)} |")
    yield ""


def _span(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:.4g} to {interval.high:.4g}"


def _checks(gate: Gate) -> Iterator[str]:
    yield "## Checks\n\n| check | status | why |\n|---|---|---|"
    yield from (f"| {check.name} | {check.status} | {check.reason.replace('|', '∣')} |" for check in gate.checks)
    yield ""


def _fields(version: ModelVersion) -> Iterator[str]:
    yield "## Inputs and outputs\n\n| | name | datatype | shape |\n|---|---|---|---|"
    for side, some in (("input", version.signature.inputs), ("output", version.signature.outputs)):
        yield from (f"| {side} | `{field.name}` | {field.datatype} | {list(field.shape)} |" for field in some)
    yield f"\nDigest `{version.digest}`, made with " + ", ".join(
        f"{name} {number}" for name, number in sorted(version.libraries.items())) + "."


def bill_of_materials(gate: Gate, version: ModelVersion) -> bytes:
    """Give the CycloneDX document."""
    algorithm, _, digest = version.digest.partition(":")
    component: dict[str, Any] = {
        "type": "machine-learning-model", "bom-ref": version.tag, "name": version.name, "version": version.version,
        "hashes": [{"alg": "SHA-256" if algorithm == "sha256" else algorithm, "content": digest}],
        "modelCard": {
            "modelParameters": {
                "task": _task(gate).removeprefix("tabular-"),
                "datasets": [{"type": "dataset", "name": gate.evaluated.data}],
                "inputs": [{"format": field.datatype} for field in version.signature.inputs],
                "outputs": [{"format": field.datatype} for field in version.signature.outputs]},
            "quantitativeAnalysis": {"performanceMetrics": [_performance(one) for one in _metrics(gate)]},
            "considerations": _considerations(gate, version)}}
    if version.card.description:
        component["description"] = version.card.description
    if version.card.license:
        component["licenses"] = [{"license": {"name": version.card.license}}]
    document = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
                "metadata": {"timestamp": gate.evaluated.at}, "components": [component]}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _performance(one: Compared) -> dict[str, Any]:
    found: dict[str, Any] = {"type": one.metric, "value": f"{one.value:.6g}"}
    if one.interval is not None:
        low, high = (f"{end:.6g}" for end in one.interval)
        found["confidenceInterval"] = {"lowerBound": low, "upperBound": high}
    return found


def _considerations(gate: Gate, version: ModelVersion) -> dict[str, Any]:
    card, found = version.card, gate.check("fairness").details
    said: dict[str, Any] = {}
    if card.intended_use:
        said["useCases"] = [card.intended_use]
    if card.limitations:
        said["technicalLimitations"] = [card.limitations]
    if isinstance(found, FairnessFound):
        said["fairnessAssessments"] = [{"groupAtRisk": gap.low, "harms": f"{gap.rate}: {gap.status}"}
                                       for gap in found.gaps if gap.low]
    return said
