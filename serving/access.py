"""Who looked at rows of the prediction log: a line of JSON for each look, written before anything is shown.

    {"time": "2026-01-05T10:00:00.000000Z", "actor": "jane", "how": "http", "what": "prediction 0190…-0", "rows": 1}

The file is appended to and never shortened. It tells of whoever asks Serinus; who may read the files by himself is for
the file system to say.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

import orjson

from serinus.serving.errors import SerinusError
from serinus.serving.home import Home

__all__ = ["note_access", "without_values"]

_LITERAL = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b", re.DOTALL)


def note_access(home: Home, actor: str, how: str, what: str, rows: int) -> None:
    """Take down that `actor` is shown so many rows. Raises `SerinusError` where it cannot: then nothing is shown."""
    line = orjson.dumps({"time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
                         "actor": actor, "how": how, "what": what, "rows": rows}) + b"\n"
    try:
        home.access.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(home.access, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(file, line) != len(line):
                raise OSError("the disk is full")
        finally:
            os.close(file)
    except OSError as error:
        raise SerinusError(f"Rows are not shown, since who looks at them cannot be noted in {home.access} "
                           f"({error.strerror or error}).") from error


def without_values(sql: str) -> str:
    """A query with `?` in place of texts and numbers: what was asked is to be known, not of whom it was asked."""
    return _LITERAL.sub("?", sql)
