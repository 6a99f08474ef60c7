"""Where a user's models, trust and everything else of Serinus lie."""

import os
from pathlib import Path

__all__ = ["default_home"]


def default_home() -> Path:
    """Give `$SERINUS_HOME`, else `~/.serinus`."""
    chosen = os.environ.get("SERINUS_HOME")
    return Path(chosen) if chosen else Path.home() / ".serinus"
