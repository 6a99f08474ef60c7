"""Sequential tests: evidence that may be looked at after every row, with a stated error."""

from serinus.monitors.sequential.e_detector import EDetector, Evidence

__all__ = ["EDetector", "Evidence"]
