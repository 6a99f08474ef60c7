"""What we watch: records of what was answered, the profile of what is normal, the monitors that compare them."""

from serinus.monitors.counts import Counts
from serinus.monitors.drift import DriftMonitor, DriftState, FeatureState, Finding
from serinus.monitors.profile import Profile
from serinus.monitors.record import PredictionRecord
from serinus.monitors.reference import Learner, Reference
from serinus.monitors.self_check import SelfCheck

__all__ = [
    "Counts",
    "DriftMonitor",
    "DriftState",
    "FeatureState",
    "Finding",
    "Learner",
    "PredictionRecord",
    "Profile",
    "Reference",
    "SelfCheck",
]
