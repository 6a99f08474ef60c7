"""What we watch: the records of what was answered, and (from the next issues on) the monitors that read them."""

from serinus.monitors.record import PredictionRecord

__all__ = ["PredictionRecord"]
