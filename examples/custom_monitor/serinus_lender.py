"""What a lender wants to know of its models: a business metric, a monitor from scratch, and a distance."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serinus.models.signature import Signature
from serinus.monitors.business_metric import BusinessMetric
from serinus.monitors.distances import Distance
from serinus.monitors.monitor import Finding, Monitor, Sums
from serinus.monitors.record import PredictionRecord

__all__ = ["ApprovalRate", "ApprovedAmount", "Hellinger"]


def _is_lending(signature: Signature) -> bool:
    """Models of loans: a column `amount` goes in, a class `predict` comes out."""
    inputs, outputs = ({field.name for field in fields} for fields in (signature.inputs, signature.outputs))
    return "amount" in inputs and "predict" in outputs


class ApprovedAmount(BusinessMetric):
    """The mean amount of the loans that the model approves. The base class learns what is normal, and judges."""

    name = "approved_amount"
    about = "The mean amount of the loans that the model approves."
    unit = "euros"
    window = 500
    low, high = 0.0, 1_000_000.0
    tolerance = 0.02

    def watches(self, signature: Signature) -> bool:
        """Look at lending models only."""
        return _is_lending(signature)

    def values(self, record: PredictionRecord) -> ArrayLike:
        """Give the amounts of the approved rows; a request may have asked for other outputs only."""
        if "predict" not in record.outputs:
            return ()
        amounts = np.asarray(record.inputs["amount"], dtype=np.float64).ravel()
        return amounts[record.outputs["predict"] == 1]


class ApprovalRate(Monitor):
    """The share of approved loans must stay within limits that the bank has set: nothing is learnt."""

    name = "approval_rate"
    about = "Between 5 and 95 % of the loans are approved."
    sums = ("asked", "approved")
    window = 500
    learns = 0
    low, high = 0.05, 0.95

    def watches(self, signature: Signature) -> bool:
        """Look at lending models only."""
        return _is_lending(signature)

    def observe(self, record: PredictionRecord) -> Sums:
        """Count rows and approved rows."""
        if "predict" not in record.outputs:
            return {}
        return {"asked": record.rows, "approved": int((record.outputs["predict"] == 1).sum())}

    def finding(self, window: Sums, reference: Sequence[Sums]) -> Finding:
        """Raise the alarm where the share lies outside by more than four standard errors: 1 window in 30,000."""
        if not window["asked"]:
            return Finding(self.name, False, "approval_rate: nobody asked whether a loan is approved.")
        rate = window["approved"] / window["asked"]
        error = 4 * math.sqrt(rate * (1 - rate) / window["asked"])
        active = rate + error < self.low or rate - error > self.high
        text = (f"approval_rate: {rate:.1%} of {window['asked']:,.0f} loans approved, "
                f"wanted {self.low:.0%} to {self.high:.0%}.")
        return Finding(self.name, active, text, severity="act", facts={"rate": rate, "asked": window["asked"]})


class Hellinger(Distance):
    """√(1 − Σ√(p·q)) of the bins' shares: 0 for equal ones, 1 for samples without a common bin.

    Thresholds come from Serinus's simulation, so nothing else is needed.
    """

    name = "hellinger"

    def values(self, reference: NDArray[Any], window: NDArray[Any], boundaries: NDArray[np.float64]) -> NDArray[Any]:
        """Give the distances of counts `[…, R, 18]`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            p, q = (counts / counts.sum(-1, keepdims=True) for counts in (reference, window))
        return np.sqrt(np.maximum(1.0 - np.sqrt(p * q).sum(-1), 0.0))
