"""`serinus demo`: the whole story on real data, by itself."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from serinus.serving.errors import CommandError

__all__ = ["command"]

_INTERRUPTED = 130


@click.command("demo")
@click.option("--scenario", type=click.Choice(["story", "good", "bad", "drift-only"]), default="story",
              show_default=True, help="All of it, or a sound version only, a useless one only, a drift only.")
@click.option("--fast", is_flag=True, help="Shorter steps: a minute or two.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=7, show_default=True,
              help="Of the data's split and of who asks when.")
@click.option("--keep", is_flag=True, help="Leave the server running until Ctrl-C, and keep the home.")
@click.option("--home", type=click.Path(path_type=Path, file_okay=False),
              help="A new or empty folder to use as the home, and to keep.")
def command(scenario: str, fast: bool, seed: int, keep: bool, home: Path | None) -> int:
    """Train, serve, ask, kill, try a version, find a drift, stop a bad version, go back: each claim is checked.

    Needs no network and touches no home but its own temporary one. Takes a few minutes, with --fast about two; Ctrl-C
    ends it cleanly. What it runs are public commands, and it shows them.

    \b
    Examples:
      serinus demo
      serinus demo --fast --keep
      serinus demo --scenario drift-only --seed 3

    Exit codes: 0 every claim held, 1 one did not, 2 wrong usage, 130 interrupted.
    """
    with _ended_by_signals(), _folder(home, keep) as folder:
        length = "two minutes" if fast else "three minutes"
        _say(f"Serinus from end to end, in about {length}; Ctrl-C ends it. Everything is in")
        _say(f"{folder}.")
        from serinus.serving.demo import Narrator, Scenario, Story

        narrator = Narrator()
        try:
            Story(folder, narrator, scenario=Scenario(scenario), seed=seed, fast=fast,
                  stay=_stay if keep else None).tell()
        except KeyboardInterrupt:
            click.echo("\nInterrupted: every process has ended.", err=True)
            return _INTERRUPTED
        _last_words(folder, kept=keep or home is not None, failures=narrator.failures)
        return 1 if narrator.failures else 0


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


def _stay() -> None:
    """Until Ctrl-C; the signal comes once only, so what follows is not interrupted."""
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(1.0)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: with its processes."""
    def interrupt(_: int, __: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # once is enough: the clean-up must not be interrupted
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _folder(home: Path | None, keep: bool) -> Iterator[Path]:
    if home is not None:
        home = home.absolute()
        if home.is_dir() and any(home.iterdir()):
            raise CommandError(f"--home {home} is not empty, and the demo counts what is in it: give a new folder.")
        home.mkdir(parents=True, exist_ok=True)
        yield home
        return
    temporary = Path(tempfile.mkdtemp(prefix="serinus-demo-"))
    try:
        yield temporary
    finally:
        if not keep:
            shutil.rmtree(temporary, ignore_errors=True)


def _last_words(folder: Path, *, kept: bool, failures: int) -> None:
    lines = ["", "Done; every claim held." if not failures else f"Done; {failures} claims did not hold (✗ above)."]
    if kept:
        lines += [f"All of it is in {folder}. Look around:",
                  f"   serinus log show --home {folder}", f"   serinus rollout journal tumour --home {folder}",
                  f"   serinus serve --home {folder}"]
    else:
        lines += ["The temporary home is gone; --keep keeps it. With a model of your own:",
                  "   serinus models register NAME model.joblib", "   serinus serve"]
    click.echo("\n".join(lines))
