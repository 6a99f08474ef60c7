"""The prediction log: every answered request, written before its answer leaves."""

from serinus.serving.prediction_log.reader import (
    Choice,
    Entry,
    Follower,
    SegmentEnd,
    entries,
    find,
    is_open,
    read,
    read_segment,
    segments,
)
from serinus.serving.prediction_log.writer import SegmentWriter

__all__ = ["Choice", "Entry", "Follower", "SegmentEnd", "SegmentWriter", "entries", "find", "is_open", "read",
           "read_segment", "segments"]
