"""`serinus alerts`: what is wrong and lasts, who looks after it, and whether messages arrive."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from serinus.serving.cli.options import (
    actor_option,
    actor_or_user,
    home_option,
    json_option,
    open_home,
    reason_option,
    url_option,
)
from serinus.serving.cli.output import iso, print_json, print_table, short, width
from serinus.serving.cli.spans import seconds_of
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.monitors.alerts import AlertBook

__all__ = ["command"]


@click.group("alerts")
def command() -> None:
    """What is wrong and lasts, who looks after it, and whether messages arrive.

    Exit codes: 0 done, 1 refused, failed or not delivered, 2 wrong usage.
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@home_option
@url_option
@json_option
def list_alerts(everything: bool, home: Path | None, url: str | None, as_json: bool) -> None:
    """Print open alerts and silences."""
    found = _remote(url) if url is not None else _local(home)
    if not everything:
        found["alerts"] = [alert for alert in found["alerts"] if alert["state"] != "resolved"]
    if as_json:
        print_json(found)
        return
    if found["alerts"]:
        print_table(("ID", "STATE", "SEVERITY", "MODEL", "KIND", "SINCE", "SUMMARY"), [
            (alert["id"], _state(alert), alert["severity"], f"{alert['model']}:{alert['version']}", alert["kind"],
             iso(alert["firing_since"] or alert["pending_since"]), short(alert["summary"], max(20, width() - 90)))
            for alert in found["alerts"]])
    else:
        click.echo("No alert." if everything else "No open alert.")
    for silence in found["silences"]:
        click.echo(_told(silence))


@command.command("ack")
@click.argument("alert_id", metavar="ID")
@actor_option
@home_option
@url_option
def acknowledge(alert_id: str, actor: str | None, home: Path | None, url: str | None) -> None:
    """Say that you look after the alert ID: it is not repeated, unless it gets worse."""
    by = actor_or_user(actor)
    if url is not None:
        taken = _remote(url, f"/{quote(alert_id, safe='')}/acknowledge", {"actor": by})["alert"]
        click.echo(f"{taken['acknowledged_by']} looks after alert {taken['id']}.")
        return
    book = _change(home, lambda found: found.acknowledge(alert_id, by, time.time()))
    click.echo(f"{by} looks after alert {book.find(alert_id).id}.")


@command.command("silence")
@click.option("--model", help="Only this model (default: every model).")
@click.option("--version", help="Only this version.")
@click.option("--kind", help="Only this kind, such as drift.")
@click.option("--for", "span", required=True, metavar="TIME", help="How long: 90s, 30m, 2h, 7d.")
@click.option("--maintenance", is_flag=True, help="Nothing is started meanwhile either, such as a retraining.")
@reason_option
@actor_option
@home_option
def silence(model: str | None, version: str | None, kind: str | None, span: str, maintenance: bool, reason: str,
            actor: str | None, home: Path | None) -> None:
    """Tell nobody of matching alerts for a time; what still fires then is told."""
    from serinus.monitors.alerts import Silence

    now = time.time()
    until = now + seconds_of(span)
    made = Silence(secrets.token_hex(4), now, until, actor_or_user(actor), reason, model, version, kind, maintenance)
    _change(home, lambda found: found.silenced(made))
    click.echo(_told(asdict(made)))


@command.command("unsilence")
@click.argument("silence_id", metavar="ID")
@home_option
def unsilence(silence_id: str, home: Path | None) -> None:
    """End the silence ID."""
    _change(home, lambda found: found.unsilenced(silence_id))
    click.echo(f"Silence {silence_id} is over.")


@command.command("test")
@click.argument("notifier")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: serinus.toml if it exists).")
def test(notifier: str, config: Path | None) -> None:
    """Send a test message by NOTIFIER, one of `alerts.notifiers` or `log`, and say whether it arrived."""
    from serinus.monitors.notifiers import DeliveryFailed, Notification
    from serinus.serving.alerting import make_configured
    from serinus.serving.settings import Settings

    now = time.time()
    made = make_configured(notifier, Settings.resolve(config=config).alerts)
    try:
        made.send(Notification.test(now).attempt(now))
    except DeliveryFailed as error:
        raise CommandError(f"Notifier {notifier}: {error}") from None
    click.echo(f"Notifier {notifier}: {made.target} took the message after {time.time() - now:.2f} s.")


def _local(home: Path | None) -> dict[str, Any]:
    """The store's alerts; those that the steward published last while the store is out of reach."""
    from serinus.serving.alerting import message_counts, read_book
    from serinus.serving.published_alerts import as_document, published
    from serinus.serving.store import SqliteStore, StoreError

    place = open_home(home)
    try:
        store = SqliteStore(place.store, create=False)
    except StoreError:
        return published(place.run)
    try:
        return as_document(read_book(store)[0], message_counts(store), time.time())
    except StoreError:
        return published(place.run)
    finally:
        store.close()


def _remote(url: str, path: str = "", body: dict[str, Any] | None = None) -> dict[str, Any]:
    from serinus.serving.cli.remote import RemoteServer

    return RemoteServer(url).call("GET" if body is None else "POST", f"/api/alerts{path}", body)


def _change(home: Path | None, change: Callable[[AlertBook], AlertBook]) -> AlertBook:
    from serinus.monitors.alerts import UnknownAlert
    from serinus.serving.alerting import change_book
    from serinus.serving.store import SqliteStore

    store = SqliteStore(open_home(home).store, create=False)
    try:
        return change_book(store, change)
    except UnknownAlert as error:
        raise CommandError(str(error)) from None
    finally:
        store.close()


def _state(alert: dict[str, Any]) -> str:
    seen_by = f"seen by {alert['acknowledged_by']}" if alert["acknowledged_by"] else ""
    remark = "silenced" if alert["silenced"] else seen_by
    return f"{alert['state']} ({remark})" if remark else str(alert["state"])


def _told(silence: dict[str, Any]) -> str:
    parts = [f"{word} {silence[word]}" for word in ("model", "version", "kind") if silence[word] is not None]
    what = "Maintenance" if silence["maintenance"] else "Silence"
    reason = f": {silence['reason']}" if silence["reason"] else ""
    return (f"{what} {silence['id']} of {', '.join(parts) or 'everything'} until {iso(silence['until'])}, "
            f"by {silence['by']}{reason}.")
