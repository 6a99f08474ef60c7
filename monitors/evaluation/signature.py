"""Whether a version takes what callers send and gives what they expect: names, types, probabilities, requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.replay import Replayed
from serinus.monitors.referral import confidence_output

__all__ = ["Agreement", "SignatureFound", "check_signature"]

Arrays = Mapping[str, NDArray[Any]]

_SUM = 1e-3


@dataclass(frozen=True)
class Agreement:
    """How far the answers of a converted version are from those of the version that it was made of.

    Attributes:
        parent: that version's tag.
        changed: the share of rows with another answer.
        apart: the largest difference of a number.
    """

    parent: str
    changed: float
    apart: float


@dataclass(frozen=True)
class SignatureFound:
    """What was found.

    Attributes:
        problems: outputs that are not what the signature says.
        obstacles: why requests of the current version could not be answered.
        replayed: what became of logged requests; None where none was tried.
        not_replayed: why none was tried.
        agreement: with the version that this one was converted from, if it was.
    """

    problems: tuple[str, ...]
    obstacles: tuple[str, ...]
    replayed: Replayed | None
    not_replayed: str
    agreement: Agreement | None


def check_signature(signature: Signature, outputs: Arrays, rows: int, *, obstacles: tuple[str, ...] = (),
                    replayed: Replayed | None = None, not_replayed: str = "",
                    agreement: Agreement | None = None, max_changed: float = 0.001) -> Check:
    """Hold answers against the signature, and the signature against the current version's."""
    problems = tuple(sentence for field in signature.outputs for sentence in _problems(field, outputs, rows))
    problems += tuple(_no_probabilities(signature, outputs))
    found = SignatureFound(problems, obstacles, replayed, not_replayed, agreement)
    failed = [*problems, *obstacles]
    if replayed is not None and replayed.errors:
        failed.append(f"It refuses {replayed.errors:,} of {replayed.rows:,} logged rows ({replayed.first_error}).")
    if agreement is not None and agreement.changed > max_changed:
        failed.append(f"It answers {agreement.changed:.2%} of the rows unlike {agreement.parent}, of which it was "
                      "made.")
    if failed:
        return Check("signature", Status.FAIL, " ".join(failed), found)
    said = f"{_counted(len(signature.inputs), 'input')} and {_counted(len(signature.outputs), 'output')} as the " \
        "signature says."
    if agreement is not None:
        said += f" {agreement.parent} answers alike ({agreement.changed:.2%} changed, numbers within "
        said += f"{agreement.apart:.2g})."
    if replayed is not None:
        return Check("signature", Status.PASS, f"{said} It answers {replayed.rows:,} logged rows.", found)
    return Check("signature", Status.WARN if "redacted" in not_replayed else Status.PASS,
                 f"{said} No logged request was replayed: {not_replayed}", found)


def _problems(field: Field, outputs: Arrays, rows: int) -> list[str]:
    array = outputs.get(field.name)
    if array is None:
        return [] if field.optional or field.sequence else [f"Output {field.name!r} is missing."]
    if field.shape and field.shape[0] == -1 and len(array) != rows:
        return [f"Output {field.name!r} has {len(array):,} rows for {rows:,}."]
    if field.datatype != "BYTES" and array.dtype != field.dtype:
        return [f"Output {field.name!r} is {array.dtype}, and the signature says {field.datatype}."]
    if field.shape and len(field.shape) != array.ndim:
        return [f"Output {field.name!r} has {array.ndim} dimensions, and the signature says {list(field.shape)}."]
    return []


def _no_probabilities(signature: Signature, outputs: Arrays) -> list[str]:
    """Say where a table of class probabilities holds none, or its columns have other labels than the answers."""
    name = confidence_output(signature)
    table = outputs.get(name) if name else None
    if name is None or table is None or table.ndim != 2 or not len(table) or not signature.output(name).labels:
        return []
    low, high = float(np.nanmin(table)), float(np.nanmax(table))
    if low < -_SUM or high > 1 + _SUM:  # decision values are no probabilities, and nobody says they are
        return []
    apart = float(np.nanmax(np.abs(table.sum(axis=1) - 1)))
    return [f"Rows of {name!r} do not add up to 1: one is off by {apart:.2g}."] if apart > _SUM else []


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")
