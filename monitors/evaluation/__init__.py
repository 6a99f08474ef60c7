"""The evaluation gate: is a version fit to answer, judged on rows whose ground truth is known."""

from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.evaluation.gate import Gate, Verdict
from serinus.monitors.evaluation.policy import Policy
from serinus.monitors.evaluation.trial import Answers, Trial

__all__ = ["Answers", "Check", "Gate", "Policy", "Status", "Trial", "Verdict"]
