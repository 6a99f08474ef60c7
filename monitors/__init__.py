"""What we watch: records of what was answered, the profile of what is normal, the monitors that compare them."""

from serinus.monitors.counts import Counts
from serinus.monitors.drift import DriftMonitor, DriftState, FeatureState, Finding
from serinus.monitors.personal_data import Redactor
from serinus.monitors.profile import Profile
from serinus.monitors.record import PredictionRecord
from serinus.monitors.reference import Learner, Reference
from serinus.monitors.self_check import SelfCheck
from serinus.monitors.validation import Expectation, Expectations
from serinus.monitors.validator import Validator, Verdict

__all__ = [
    "Counts",
    "DriftMonitor",
    "DriftState",
    "Expectation",
    "Expectations",
    "FeatureState",
    "Finding",
    "Learner",
    "PredictionRecord",
    "Profile",
    "Redactor",
    "Reference",
    "SelfCheck",
    "Validator",
    "Verdict",
]
