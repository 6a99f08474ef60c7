"""`serinus feedback`: tell what became of predictions, from a file; and what is known of them by now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from serinus.serving.cli.options import home_option, json_option, model_argument, open_home, url_option
from serinus.serving.cli.output import print_json, print_table
from serinus.serving.cli.progress import progress_line
from serinus.serving.errors import CommandError, ControlRefused

__all__ = ["command"]

_BATCH = 10_000
_SOME_REJECTED = 3
_KINDS = ("final", "provisional", "revision", "retract", "event")

Send = Callable[[list[Any], int], dict[str, Any]]


@click.command("feedback")
@model_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@click.option("--id", "id_column", default="prediction_id", show_default=True, metavar="COLUMN",
              help="Where the prediction ids stand.")
@click.option("--key", "key_column", default="key", show_default=True, metavar="COLUMN",
              help="Where callers' own keys stand, in a file without prediction ids.")
@click.option("--value", "value_column", default="value", show_default=True, metavar="COLUMN",
              help="Where the truths stand.")
@click.option("--time", "time_column", default="event_time", show_default=True, metavar="COLUMN",
              help="Where it stands when they became known.")
@click.option("--source", help="Who says so, where the file does not.")
@click.option("--kind", type=click.Choice(_KINDS), help="What the file holds, where it does not say so itself.")
@click.option("--event", metavar="NAME", help="The file holds events of this name (click, revenue), not truths.")
@home_option
@url_option
@json_option
def command(model: str, file: Path | None, id_column: str, key_column: str, value_column: str, time_column: str,
            source: str | None, kind: str | None, event: str | None, home: Path | None, url: str | None,
            as_json: bool) -> None:
    """Tell what became of predictions of NAME: CSV, Parquet, or JSON lines; without FILE, what is known of them.

    A row has the id that the answer carried (or the key that the request did) and the truth; other columns are `kind`,
    `name`, `source` and `weight`, and any further ones are left out. The same file may be sent twice. With --url a
    server takes it; else it is laid down in the home, for the server that runs there or will.

    Exit codes: 0 all was accepted, 1 failed, 2 wrong usage, 3 some rows were rejected.
    """
    if file is None:
        _tell(_known(model, home, url), model, as_json)
        return
    renamed = {id_column: "prediction_id", key_column: "key", value_column: "value", time_column: "event_time"}
    given = {"source": source, "kind": "event" if event else kind, "name": event}
    rows = (_outcome(row, renamed, given) for row in _read(file))
    send = _remote(url) if url else _local(model, home)
    done = _send_all(rows, send, quiet=as_json)
    if as_json:
        print_json(done)
    else:
        _report(done, home, url)
    if done["rejected_count"]:
        click.get_current_context().exit(_SOME_REJECTED)


def _send_all(rows: Iterable[Any], send: Send, *, quiet: bool) -> dict[str, Any]:
    began, accepted, rejected, count, sent = time.monotonic(), 0, [], 0, 0
    with progress_line(quiet=quiet) as tell:
        remaining = iter(rows)
        while part := list(islice(remaining, _BATCH)):
            answer, sent = send(part, sent), sent + len(part)
            accepted, count = accepted + answer["accepted"], count + answer["rejected_count"]
            rejected += answer["rejected"]
            if tell is not None:
                tell(f"Sending ({sent / max(time.monotonic() - began, 1e-9):,.0f} rows/s)", sent, None)
    took = max(time.monotonic() - began, 1e-9)
    return {"accepted": accepted, "rejected": rejected[:20], "rejected_count": count, "seconds": round(took, 3),
            "rows_per_second": round(sent / took)}


def _report(done: dict[str, Any], home: Path | None, url: str | None) -> None:
    click.echo(f"{done['accepted']:,} accepted, {done['rejected_count']:,} rejected, "
               f"{done['rows_per_second']:,} rows per second.")
    for each in done["rejected"]:
        click.echo(f"Row {each['row']}: {each['reason']}.", err=True)
    if url is None and done["accepted"] and not open_home(home).servers():
        click.echo("They are joined to their predictions as soon as a server runs on this home.")


def _local(model: str, home: Path | None) -> Send:
    from serinus.models.registry import Registry
    from serinus.serving.expectations import deployment_key
    from serinus.serving.ground_truth.outcomes import take
    from serinus.serving.ground_truth.spool import Spool, SpoolError
    from serinus.serving.settings import Settings

    folder = open_home(home)
    registry = Registry(folder.path)
    registry.get(*registry.resolve(model))  # a name that is mistyped is told at once
    spool = Spool(folder.spool, Settings.resolve().ground_truth.spool_bytes)
    secret = deployment_key(folder.path)

    def send(rows: list[Any], first: int) -> dict[str, Any]:
        taken = take(rows, time.time(), secret, first)
        try:
            if taken.rows:
                spool.append(taken.rows)
        except SpoolError as error:
            raise CommandError(str(error)) from None
        return taken.answer()

    return send


def _remote(url: str) -> Send:
    from serinus.serving.cli.remote import RemoteServer

    server = RemoteServer(url)

    def send(rows: list[Any], first: int) -> dict[str, Any]:
        answer = server.call("POST", "/api/ground-truth", {"outcomes": rows})
        return {**answer, "rejected": [{**each, "row": each["row"] + first} for each in answer["rejected"]]}

    return send


def _outcome(row: Any, renamed: dict[str, str], given: dict[str, str | None]) -> Any:
    """A row of a file as an outcome: columns by our names, those that mean nothing left out."""
    from serinus.serving.ground_truth.outcomes import FIELDS

    if not isinstance(row, dict):
        return row
    known = {renamed.get(name, name): value for name, value in row.items()
             if renamed.get(name, name) in FIELDS and value is not None and name not in _hidden(renamed)}
    if "prediction_id" in known:  # a further column that happens to be called so
        known.pop("key", None)
    return {**{name: value for name, value in given.items() if value}, **known}


def _hidden(renamed: dict[str, str]) -> set[str]:
    """Columns that are named like ours while another one was said to be meant."""
    return {ours for theirs, ours in renamed.items() if theirs != ours and ours not in renamed}


def _read(file: Path) -> Iterator[Any]:
    match file.suffix.lower():
        case ".csv":
            return _csv(file)
        case ".parquet":
            return _parquet(file)
        case ".json" | ".jsonl" | ".ndjson":
            return _lines(file)
    raise CommandError(f"{file}: expected a file .csv, .parquet, .jsonl or .ndjson.", exit_code=2)


def _csv(file: Path) -> Iterator[dict[str, Any]]:
    from serinus.serving.ground_truth.outcomes import BodyUnreadable, csv_rows

    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield from csv_rows(stream)
    except (BodyUnreadable, UnicodeDecodeError, OSError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_BATCH):
                yield from ({name: _plain(value) for name, value in row.items()} for row in batch.to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise CommandError(f"{file} cannot be read: {error}.") from None


def _plain(value: Any) -> Any:
    """Dates as JSON has them."""
    return value.isoformat() if hasattr(value, "isoformat") else value


def _lines(file: Path) -> Iterator[Any]:
    import orjson

    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    found = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise CommandError(f"{file}, line {number} is not JSON: {error}.") from None
                yield from found if isinstance(found, list) else [found]


def _known(model: str, home: Path | None, url: str | None) -> dict[str, Any]:
    from serinus.serving.cli.remote import RemoteServer
    from serinus.serving.ground_truth.published import published

    try:
        if url:
            return RemoteServer(url).call("GET", f"/api/ground-truth/{model}", None)
        return published(open_home(home).run, model)
    except ControlRefused as error:
        raise CommandError(str(error)) from None


def _tell(document: dict[str, Any], model: str, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    found = document["models"][model]
    print_table(("WINDOW", "VERSION", "ROLE", "PREDICTIONS", "KNOWN", "EXPECTED", "RIGHT", "REVISION"), [
        (window["window"], window["version"], window["role"], f"{window['predictions']:,}",
         f"{window['labelled_share']:.1%}", f"{window['expected_share']:.1%}", _right(window), str(window["revision"]))
        for window in found["windows"]])
    if found["selection"]["depends"]:
        click.echo("Truths are known more often of some scores than of others: what is measured is not what all "
                   "predictions are worth. Send `action_probability` as an event, or keep a random part aside.")
    click.echo(f"{document['received']:,} received, {document['orphans']:,} without a prediction in the log, "
               f"{document['waiting_bytes']:,} bytes waiting.")


def _right(window: dict[str, Any]) -> str:
    if not window["mature"]:
        return "too early"
    share = window["corrected_accuracy"]
    return "-" if share is None else f"{share:.1%}"
