"""Rollouts: the record, the pure state machine and the pure routing rule.

`serinus.serving.rollout.controller` joins them to a store; it is imported by its own name, because the store needs
the record from here.
"""

from serinus.serving.rollout.errors import FormatUnknown, PlanInvalid, RolloutError, TransitionRefused
from serinus.serving.rollout.judgement import Judgement
from serinus.serving.rollout.routing import Bucketer, bucket, is_candidate
from serinus.serving.rollout.state import Phase, Plan, RolloutRecord
from serinus.serving.rollout.transitions import (
    Abort,
    Acknowledged,
    Advance,
    Approve,
    Command,
    Event,
    Freeze,
    Hold,
    Journal,
    Notice,
    Pause,
    Promote,
    Publish,
    Reject,
    Resume,
    RollBack,
    SetStable,
    Start,
    Veto,
    advance,
)

__all__ = [
    "Abort",
    "Acknowledged",
    "Advance",
    "Approve",
    "Bucketer",
    "Command",
    "Event",
    "FormatUnknown",
    "Freeze",
    "Hold",
    "Journal",
    "Judgement",
    "Notice",
    "Pause",
    "Phase",
    "Plan",
    "PlanInvalid",
    "Promote",
    "Publish",
    "Reject",
    "Resume",
    "RollBack",
    "RolloutError",
    "RolloutRecord",
    "SetStable",
    "Start",
    "TransitionRefused",
    "Veto",
    "advance",
    "bucket",
    "is_candidate",
]
