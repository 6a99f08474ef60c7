"""Ground truth: what became of predictions, as it comes in late, twice, revised and in any order."""

from serinus.serving.ground_truth.outcomes import KINDS, MEDIA_TYPES, BodyUnreadable, Intake, read_body
from serinus.serving.ground_truth.resolution import State, Truth, resolve
from serinus.serving.ground_truth.spool import Spool, SpoolError

__all__ = ["KINDS", "MEDIA_TYPES", "BodyUnreadable", "Intake", "Spool", "SpoolError", "State", "Truth", "read_body",
           "resolve"]
