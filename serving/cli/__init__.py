"""The `serinus` command. Sub-commands are imported when they are used, so that help is fast."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry of the `serinus` command: errors become one sentence and an exit code."""
    from serinus.serving.cli.command import run

    run()
