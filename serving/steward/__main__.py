"""`python -m serinus.serving.steward`: ends with its server from the first moment, before it loads anything."""

from __future__ import annotations

import os
import sys

from serinus.serving.processes import die_with_parent


def main() -> int:
    """Work until SIGTERM, or until the process that started this one ends."""
    die_with_parent()  # first: a server that ends while its steward starts would wait for the imports below
    from serinus.serving.steward.process import work

    return work()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # all is sent and closed; a user's OpenTelemetry SDK would wait for its collector once more
