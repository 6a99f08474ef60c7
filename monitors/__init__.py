"""What we watch: records of what was answered, the profile of what is normal, the monitors that compare them."""

from serinus.monitors.counts import Counts
from serinus.monitors.profile import Profile
from serinus.monitors.record import PredictionRecord
from serinus.monitors.reference import Learner, Reference

__all__ = ["Counts", "Learner", "PredictionRecord", "Profile", "Reference"]
