"""`serinus models load` and `unload`: what a running server has in memory, by hand."""

from __future__ import annotations

from typing import Any

import click

from serinus.serving.cli.options import json_option, url_option
from serinus.serving.cli.output import print_json
from serinus.serving.cli.remote import RemoteServer
from serinus.serving.errors import CommandError

__all__ = ["load", "unload"]

_PATIENCE_S = 60.0  # longer than the server waits for its workers


@click.command("load")
@click.argument("tag", metavar="NAME[:VERSION]")
@url_option
@json_option
def load(tag: str, url: str | None, as_json: bool) -> None:
    """Have every worker of a running server load a model, or one version of it besides those that rollouts ask for.

    It holds until the server ends. A version that is named is reached by its own address only.
    """
    done = _ask("load", tag, url)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done['name']}:{done['version']} is loaded in every worker.")


@click.command("unload")
@click.argument("tag", metavar="NAME[:VERSION]")
@url_option
@json_option
def unload(tag: str, url: str | None, as_json: bool) -> None:
    """Have every worker of a running server let go of a model, or of one version that was loaded by hand."""
    done = _ask("unload", tag, url)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{':'.join(filter(None, (done['name'], done.get('version'))))} is unloaded in every worker.")


def _ask(verb: str, tag: str, url: str | None) -> dict[str, Any]:
    from serinus.models.version import split_tag

    name, version = split_tag(tag)
    if url is None:
        raise CommandError(f"No server is named: say `serinus models {verb} {tag} --url http://HOST:PORT`, or set "
                           "SERINUS_URL.", 2)
    body = {"parameters": {"version": version}} if version is not None else {}
    return RemoteServer(url).call("POST", f"/v2/repository/models/{name}/{verb}", body, _PATIENCE_S)
