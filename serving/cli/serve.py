"""`serinus serve`: one server, from registered versions or from files."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.serving.settings import Settings

__all__ = ["command"]

_SUFFIXES = {".joblib", ".onnx", ".pickle", ".pkl", ".skops"}


@click.command("serve")
@click.argument("what", nargs=-1)
@click.option("--name", help="Name for a PATH that is not registered yet (default: from its file name).")
@click.option("--reference", type=click.Path(path_type=Path),
              help="CSV or Parquet with rows like those of the PATH's training; sharpens its signature.")
@click.option("--target", help="The reference's column that the model predicts.")
@click.option("--host", help="IP address to listen on (default 127.0.0.1).")
@click.option("--port", type=int, help="Port (default 3000; 0: any free one).")
@click.option("--workers", type=int, help="Worker processes (default 2).")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: serinus.toml if it exists).")
@click.option("--home", type=click.Path(path_type=Path), help="Folder of models, log and store (default ~/.serinus).")
@click.option("--trust", multiple=True, metavar="DIGEST",
              help="sha256:… of an artifact that may run code when it loads (pickle, joblib).")
def command(what: tuple[str, ...], name: str | None, reference: Path | None, target: str | None,
            trust: tuple[str, ...], config: Path | None, **flags: Any) -> int:
    """Serve models over HTTP until Ctrl-C.

    WHAT is a PATH (registered first) or NAME[:VERSION], where an alias may stand for the version; without it,
    everything registered is served. On a terminal, a pickle that nobody trusted yet is asked about once.

    Exit codes: 0 ended by a signal, 1 could not start, or the server ended by itself, 2 wrong usage.
    """
    from serinus.serving.parent import Parent
    from serinus.serving.settings import Settings

    home = flags.pop("home")
    given = {f"server.{key}": value for key, value in flags.items()} | {"home": home}
    settings = Settings.resolve(config=config, flags=given)
    if settings.alerts.notifiers or settings.retraining.enabled or settings.retraining.notifier is not None:
        from serinus.serving.alerting import check_alerting  # else every start would wait for this import

        check_alerting(settings)
    _check_usage(what, {"--name": name, "--reference": reference, "--target": target})
    registered = {path: _register(Path(path), name, reference, target, settings.home, trust)
                  for path in dict.fromkeys(what) if _is_path(path)}
    tags = [registered.get(item, item) for item in what] or list(settings.server.models)
    if tags:
        resolved = _one_of_each(_resolved(tag, settings, trust) for tag in tags)
        settings = settings.model_copy(update={"server": settings.server.model_copy(update={"models": resolved})})
    return Parent(settings, _banner).serve()


def _check_usage(what: tuple[str, ...], about_path: dict[str, object]) -> None:
    """What is said of one path needs one path; otherwise nobody knows which was meant."""
    paths = [item for item in what if _is_path(item)]
    given = [flag for flag, value in about_path.items() if value is not None]
    if given and len(paths) != 1:
        got = ", ".join(paths) or "none"
        raise click.UsageError(f"{given[0]} is for one PATH, got {got}. Register them first: "
                               "serinus models register NAME PATH")


def _is_path(item: str) -> bool:
    """Whether a word means a file or folder, there or not: it looks like one, or is one and cannot be a tag."""
    path = Path(item)
    return "/" in item or path.suffix.lower() in _SUFFIXES or (path.exists() and (path.is_dir() or bool(path.suffix)))


def _register(path: Path, name: str | None, reference: Path | None, target: str | None, home: Path,
              trust: tuple[str, ...]) -> str:
    """The tag of a path; the same digest and signature give the same version."""
    from serinus.serving.cli.versions import warn_of_skew
    from serinus.serving.registration import register_path

    version = register_path(path, name, home=home, reference=reference, target=target, trust=trust)
    warn_of_skew(version)
    return version.tag


def _resolved(tag: str, settings: Settings, trust: tuple[str, ...]) -> str:
    """A tag whose alias became a number and whose version is there and may be loaded; a name alone stays one."""
    from serinus.serving.cli.local import known_records
    from serinus.serving.home import Home
    from serinus.serving.registration import ensure_trusted
    from serinus.serving.served_models import bundle_folders, open_registry

    registry = open_registry(settings)
    name, number = registry.resolve(tag)
    record = known_records(Home(settings.home)).get(name)
    stable = record.stable if record is not None else None
    version = registry.get(name, number or stable or next(iter(registry.versions(name)), None))
    if not any(version.path.is_relative_to(folder) for folder in bundle_folders()):
        ensure_trusted(version, settings.home, trust=trust)
    return f"{name}:{number}" if number else name


def _one_of_each(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, none twice. Raises CommandError where two are versions of one model: only one can be stable."""
    named: dict[str, str] = {}
    for tag in tags:
        name = tag.partition(":")[0]
        if named.setdefault(name, tag) != tag:
            raise CommandError(f"{named[name]} and {tag} are versions of one model, of which one answers by default: "
                               "serve that, and try the other on part of the traffic with `serinus rollout start`.")
    return tuple(named.values())


def _banner(settings: Settings) -> None:
    from serinus.serving.banner import banner

    click.echo(banner(settings))
    sys.stdout.flush()
