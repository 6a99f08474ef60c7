"""The prediction log: every answered request, written before its answer leaves."""

from serinus.serving.prediction_log.reader import Follower, SegmentEnd, find, is_open, read, read_segment, segments
from serinus.serving.prediction_log.writer import SegmentWriter

__all__ = ["Follower", "SegmentEnd", "SegmentWriter", "find", "is_open", "read", "read_segment", "segments"]
