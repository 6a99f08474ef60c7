"""What is done to an answer before it leaves, where the settings ask for it: probabilities are rounded, and rows that a
person should decide are marked.

Rounding takes from an extractor what he needs (Tramèr et al. 2016, section 7: with few digits equations cannot be
solved) and from a reader nothing. Log and monitors see the model's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.signature import Field, Signature
from serinus.monitors.referral import REASONS, Referral, confidence_output, confidences
from serinus.serving.board import Board
from serinus.serving.observer import Look, Watch
from serinus.serving.request import InferenceRequest, Referred
from serinus.serving.router import Arm
from serinus.serving.settings import ReferralLimits, ReferralSettings, SecuritySettings

__all__ = ["Answering", "head"]

Outputs = Mapping[str, NDArray[Any]]

_PER_CLASS = ("predict_proba", "predict_log_proba", "decision_function")
_IN_HEAD = 20


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is done to the answers of one version."""

    rounded: tuple[str, ...]
    confidence: str | None
    referral: Referral


class Answering:
    """Finishes the answers of one worker. Made only where there is something to do."""

    def __init__(self, referral: ReferralSettings, digits: int | None, board: Board) -> None:
        self._settings = referral
        self._digits = digits
        self._board = board
        self._plans: dict[tuple[str, str], tuple[Signature, _Plan]] = {}

    @classmethod
    def wanted(cls, referral: ReferralSettings, security: SecuritySettings, board: Board) -> Answering | None:
        """None where no setting asks for anything."""
        limits = (referral, *referral.by_model.values())
        if security.round_digits is None and not any(_referral(each).active for each in limits):
            return None
        return cls(referral, security.round_digits, board)

    def finish(self, arm: Arm, request: InferenceRequest, outputs: Outputs,
               look: Look | None) -> tuple[Outputs, tuple[Referred, ...] | None]:
        """The outputs as they are told, and which rows are a person's; None where nobody asks for that."""
        plan = self._plan(arm)
        referred = self._refer(plan, arm, request, outputs, look) if plan.referral.active else None
        return self._round(plan, arm, outputs), referred

    def _plan(self, arm: Arm) -> _Plan:
        known = self._plans.get((arm.name, arm.version))
        if known is not None and known[0] is arm.signature:
            return known[1]
        confidence = confidence_output(arm.signature)
        plan = _Plan(tuple(field.name for field in arm.signature.outputs if _tells_confidence(field, confidence)),
                     confidence, _referral(self._settings.by_model.get(arm.name, self._settings)))
        self._plans[arm.name, arm.version] = arm.signature, plan
        return plan

    def _round(self, plan: _Plan, arm: Arm, outputs: Outputs) -> Outputs:
        names = [name for name in plan.rounded if name in outputs]
        if self._digits is None or not names:
            return outputs
        self._board.tally("rounded", arm.name, arm.version)
        return {**outputs, **{name: np.round(outputs[name], self._digits) for name in names}}

    def _refer(self, plan: _Plan, arm: Arm, request: InferenceRequest, outputs: Outputs,
               look: Look | None) -> tuple[Referred, ...]:
        marks = plan.referral.marks(request.rows, confidences(outputs, plan.confidence),
                                    _p_values(arm, request, look) if plan.referral.novelty_p is not None else None)
        referred = tuple(Referred(int(row), REASONS[marks[row]]) for row in np.flatnonzero(marks))
        for reason in {one.reason for one in referred}:
            self._board.tally("referred", arm.name, arm.version, reason,
                              amount=sum(one.reason == reason for one in referred))
        return referred


def _referral(limits: ReferralLimits) -> Referral:
    return Referral(limits.confidence, limits.novelty_p)


def _tells_confidence(field: Field, confidence: str | None) -> bool:
    """Whether an output says how sure the model is, to more digits than anybody needs."""
    return field.dtype.kind == "f" and (field.name == confidence or bool(field.labels)
                                        or field.name.startswith(_PER_CLASS))


def _p_values(arm: Arm, request: InferenceRequest, look: Look | None) -> NDArray[np.float64] | None:
    """The novelty p-value of every row, also where the observer looked at a sample only."""
    if look is None or not isinstance(arm.watch, Watch):
        return None
    if look.novelty is not None and look.chosen is None:
        return look.p_values()
    novelty, encoder = arm.watch.profile.novelty, arm.watch.profile.encoder
    if novelty is None:
        return None
    return novelty.p_values(novelty.scores(encoder.numbers(request.inputs), encoder.categories(request.inputs)))


def head(referred: tuple[Referred, ...]) -> bytes:
    """The header line that says which rows are a person's: `x-serinus-refer: 0=low_confidence; 3=novel_row`."""
    named = [f"{one.row}={one.reason.replace(', ', '+')}" for one in referred[:_IN_HEAD]]
    more = [f"and {len(referred) - _IN_HEAD} more"] if len(referred) > _IN_HEAD else []
    return b"x-serinus-refer: %b\r\n" % "; ".join([*named, *more]).encode()
