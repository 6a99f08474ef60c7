"""What several commands share: options, the home they mean, who acts."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from serinus.serving.home import Home

__all__ = ["actor_option", "actor_or_user", "home_option", "json_option", "model_argument", "open_home",
           "reason_option", "timeout_option", "url_option"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

home_option: Decorator = click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of models, log and store (default: $SERINUS_HOME, else ~/.serinus).")
url_option: Decorator = click.option(
    "--url", envvar="SERINUS_URL", show_envvar=True,
    help="Act on the server at this address instead of on a home of this host; the token is SERINUS_CONTROL_TOKEN.")
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
reason_option: Decorator = click.option("--reason", default="", help="Why; it is kept in the journal.")
actor_option: Decorator = click.option("--actor", help="Who acts (default: the user's name).")
timeout_option: Decorator = click.option(
    "--timeout", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="SECONDS",
    help="How long to wait until every live worker follows.")


def _model_name(_: click.Context, __: click.Parameter, value: str) -> str:
    from serinus.models.version import parse_tag

    name, version = parse_tag(value)
    if version is not None:
        raise click.BadParameter(f"expected a model's name without a version, got {value!r}: say {name!r}.")
    return name


model_argument: Decorator = click.argument("model", metavar="NAME", callback=_model_name)


def open_home(home: Path | None) -> Home:
    """The home that was named, or the one that `serinus serve` would use here."""
    from serinus.serving.settings import Settings

    return Home((home if home is not None else Settings.resolve().home).absolute())


def actor_or_user(actor: str | None) -> str:
    """Who acts: as given, else the name of the operating system's user."""
    if actor:
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number only
        return f"uid-{os.getuid()}"
