"""What can go wrong in monitoring: one tree, rooted at `MonitorError`, that knows no transport.

```
MonitorError
├── InvalidData        a frame, file or profile that cannot be watched, compared or read
├── InvalidExpectation what is expected of values makes no sense, or cannot be read
├── InvalidPolicy      what the evaluation gate asks for cannot be read
├── UnknownDistance    no distance has this name
└── UnknownMonitor     no monitor has this name, or an installed one cannot be loaded
```
"""

__all__ = ["InvalidData", "InvalidExpectation", "InvalidPolicy", "MonitorError", "UnknownDistance", "UnknownMonitor"]


class MonitorError(Exception):
    """Anything that `serinus.monitors` refuses; the message is one sentence meant for the user."""


class InvalidData(MonitorError):
    """A frame, file or profile cannot be watched, compared or read."""


class InvalidExpectation(MonitorError):
    """What is expected of a model's values makes no sense, or cannot be read."""


class InvalidPolicy(MonitorError):
    """What the evaluation gate asks for cannot be read."""


class UnknownDistance(MonitorError):
    """A name was asked for that no distance has."""


class UnknownMonitor(MonitorError):
    """A name was asked for that no monitor has, or an installed one cannot be loaded."""
