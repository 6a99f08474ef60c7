"""`serinus serve`: one server, from registered versions or from files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from serinus.serving.settings import Settings

__all__ = ["command"]


@click.command("serve")
@click.argument("what", nargs=-1)
@click.option("--name", help="Name for a PATH that is not registered yet (default: from its file name).")
@click.option("--host", help="IP address to listen on (default 127.0.0.1).")
@click.option("--port", type=int, help="Port (default 3000; 0: any free one).")
@click.option("--workers", type=int, help="Worker processes (default 2).")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: serinus.toml if it exists).")
@click.option("--home", type=click.Path(path_type=Path), help="Folder of models, log and store (default ~/.serinus).")
@click.option("--trust", multiple=True, help="Digest (sha256:…) of an artifact that may run code when it loads.")
def command(what: tuple[str, ...], name: str | None, trust: tuple[str, ...], config: Path | None,
            **flags: Any) -> int:
    """Serve models over HTTP until Ctrl-C.

    WHAT is a PATH (registered first) or NAME[:VERSION]; without it, everything registered is served.

    Exit codes: 0 ended by a signal, 1 could not start, or the server ended by itself, 2 wrong usage.
    """
    from serinus.serving.parent import Parent

    home = flags.pop("home")
    given = {f"server.{key}": value for key, value in flags.items()} | {"home": home}
    settings = Settings.resolve(config=config, flags=given)
    tags = tuple(_tag(item, name, settings.home, trust) for item in what)
    if tags:
        settings = settings.model_copy(update={"server": settings.server.model_copy(update={"models": tags})})
    return Parent(settings, _banner).serve()


def _tag(item: str, name: str | None, home: Path, trust: tuple[str, ...]) -> str:
    """`item` as a tag; a path is registered first (the same digest and signature give the same version)."""
    from serinus.models import parse_tag
    from serinus.serving.registration import register_path
    from serinus.serving.served_models import open_registry

    path = Path(item)
    if path.exists() and ("/" in item or path.suffix or path.is_dir()):
        return register_path(path, name, home=home, trust=trust).tag
    wanted, version = parse_tag(item)
    return open_registry(Settings(home=home)).get(wanted, version).tag if version else wanted


def _banner(settings: Settings) -> None:
    from serinus.serving.banner import banner

    click.echo(banner(settings))
    sys.stdout.flush()
