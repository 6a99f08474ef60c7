"""`serinus monitor retrain`: what would be done about a model now, and doing it."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serinus.serving.cli.options import actor_option, actor_or_user, home_option, json_option, model_argument
from serinus.serving.cli.output import print_json
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.serving.retraining import Advice

__all__ = ["command"]


@click.command("retrain")
@model_argument
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and why.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: serinus.toml if it exists).")
@actor_option
@home_option
@json_option
def command(model: str, dry_run: bool, config: Path | None, actor: str | None, home: Path | None,
            as_json: bool) -> None:
    """Start the retraining of NAME now, as the settings describe it, whatever monitors and calendar say.

    Its command runs on this host until it ends; a running server's steward takes down how. With --dry-run nothing is
    started: the recommended action is printed with its reasons, and whether a server would start something by itself.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
    """
    from serinus.serving.alerting import check_alerting
    from serinus.serving.home import Home
    from serinus.serving.retraining import Retraining
    from serinus.serving.served_models import open_registry
    from serinus.serving.settings import Settings
    from serinus.serving.store import SqliteStore

    settings = Settings.resolve(config=config, flags={"home": home})
    check_alerting(settings)
    place = Home(settings.home.absolute())
    registry = open_registry(settings)
    registry.get(model)  # raises ModelNotFound, whose sentence lists what there is
    store = SqliteStore(place.store, create=not dry_run)
    try:
        now = time.time()
        retraining = Retraining(store, place, registry, settings, actor_or_user(actor))
        state = retraining.settle(model, retraining.state(model, now), now) if not dry_run else (
            retraining.state(model, now))
        advice = retraining.advise(model, now, state)
        if dry_run:
            _print(model, advice, enabled=settings.retraining.enabled, as_json=as_json)
            return
        if not settings.retraining.command and settings.retraining.notifier is None:
            raise CommandError("Nothing to start: set retraining.command or retraining.notifier.")
        if state.run is not None:
            raise CommandError(f"One is under way in {state.run.folder}.")
        why = f"{actor_or_user(actor)} asked for it."
        asked = replace(advice, decision=replace(advice.decision, start=True, why=why, trigger="person"))
        folder = retraining.start(model, state, asked, now)
        click.echo(f"Started in {folder}; its output goes to output.log." if folder else
                   f"The message to {settings.retraining.notifier} is on its way.")
    finally:
        store.close()


def _print(model: str, advice: Advice, *, enabled: bool, as_json: bool) -> None:
    if as_json:
        print_json({"model": model, "version": advice.version, "enabled": enabled,
                    "recommendation": asdict(advice.recommendation), "decision": asdict(advice.decision)})
        return
    click.echo(f"{model}:{advice.version or '?'}  recommended: {advice.recommendation.action}")
    for reason in advice.recommendation.reasons:
        click.echo(f"  {reason}")
    word = "A server would start it now." if advice.decision.start else "A server would start nothing now."
    click.echo(f"{word} {advice.decision.why}" if enabled else
               f"retraining.enabled is false, so no server starts anything by itself. {advice.decision.why}")
