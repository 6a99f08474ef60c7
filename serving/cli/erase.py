"""`serinus log erase`: remove one person from everything that a home keeps of single predictions."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from serinus.serving.cli.options import actor_option, actor_or_user, home_option, json_option, open_home, reason_option
from serinus.serving.cli.output import print_json
from serinus.serving.errors import CommandError

__all__ = ["command"]

_NOTHING = 3


@click.command("erase")
@click.option("--key", "keys", multiple=True, metavar="KEY",
              help="A caller's own key; - reads keys from standard input, one a line: then they stand in no history.")
@click.option("--prediction-id", "ids", multiple=True, metavar="ID",
              help="One prediction; without its last number, all of its request.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@actor_option
@home_option
@json_option
def command(keys: tuple[str, ...], ids: tuple[str, ...], yes: bool, reason: str, actor: str | None, home: Path | None,
            as_json: bool) -> int:
    """Erase predictions, what became of them, and what their callers' keys stand for. It cannot be undone.

    Erased are records of callers and of shadows in segments and Parquet files, ground truth in the spool and in the
    store, pairs, and entries of the key index, with servers running or not. The journal tells who did it, not to whom.
    What is known of many together (profiles, counts) stays.

    Exit codes: 0 erased, 1 failed or something is left, 2 wrong usage, 3 there was nothing.
    """
    from serinus.serving.erasure import erase, expand

    folder = open_home(home)
    piped = "-" in keys
    keys = tuple(key for given in keys for key in (_lines() if given == "-" else [given]))
    if not keys and not ids:
        raise CommandError("Say whom: --key KEY or --prediction-id ID.", exit_code=2)
    if not folder.path.is_dir():
        raise CommandError(f"There is no home {folder.path}.")
    if not yes and sys.stdin.isatty() and not piped:
        click.confirm("This cannot be undone. Erase?", abort=True)
    predictions = [each for given in ids for each in expand(folder, given)]
    done = erase(folder, keys, predictions, actor=actor_or_user(actor), reason=reason)
    if as_json:
        print_json({**done._asdict(), "predictions": dict(done.predictions)})
    elif done.anything:
        models = ", ".join(f"{number:,} of {model}" for model, number in sorted(done.predictions.items())) or "none"
        click.echo(f"Erased: predictions {models}; {done.truths:,} truths and events, {done.keys:,} entries of the key "
                   f"index, {done.pairs:,} pairs of shadows.")
    else:
        click.echo("Nothing is kept of it.")
    return 0 if done.anything else _NOTHING


def _lines() -> list[str]:
    return [line.strip() for line in sys.stdin if line.strip()]
