"""`python -m serinus.serving.shadow`: ends with its steward from the first moment, before it loads anything."""

from __future__ import annotations

import os
import sys

from serinus.serving.processes import die_with_parent


def main() -> int:
    """Work until SIGTERM, or until the steward ends."""
    die_with_parent()
    from serinus.serving.shadow.process import work

    return work()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # all is published; libraries of models would wait for threads of their own
