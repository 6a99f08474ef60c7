"""`serinus log`: read the prediction log."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from serinus.serving.access import note_access
from serinus.serving.cli import erase, query
from serinus.serving.cli.options import actor_or_user, home_option, open_home
from serinus.serving.cli.output import iso, print_json_line, short, table, width
from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.monitors.record import PredictionRecord

__all__ = ["command"]


@click.group("log")
def command() -> None:
    """Read the prediction log: every answered prediction, written before its answer left.

    Exit codes: 0 done, 1 no such prediction, 2 wrong usage.
    """


command.add_command(erase.command)
command.add_command(query.command)


@command.command("show")
@click.option("--model", help="Only this model.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True,
              help="At most so many predictions, the newest; 0: all.")
@click.option("--shadow", is_flag=True, help="What shadows answered, which nobody got.")
@click.option("--prediction", metavar="ID", help="This one prediction; without its last number, all of its request.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, one object per prediction.")
def show(model: str | None, limit: int, shadow: bool, prediction: str | None, home: Path | None,
         as_json: bool) -> None:
    """Print predictions, the newest last."""
    opened = open_home(home)
    folder = opened.shadow_log if shadow else opened.log
    rows = _named(folder, prediction, shadow) if prediction is not None else _newest(folder, model, limit)
    if rows:
        note_access(opened, actor_or_user(None), "cli", "log show", len(rows))
    if as_json:
        for row in rows:
            print_json_line(row)
    elif rows:
        click.echo("\n".join(short(line, width()) for line in table(
            ("TIME", "MODEL", "ROLE", "PREDICTION", "OUTPUTS", "INPUTS"), [_cells(row) for row in rows])))
    else:
        which = f" of {model!r}" if model else ""
        click.echo(f"No prediction{which} is in {folder} yet.", err=True)


def _newest(folder: Path, model: str | None, limit: int) -> list[dict[str, Any]]:
    records = (record for record in _records(folder) if model in (None, record.model))
    by_time: list[PredictionRecord] = sorted(records, key=_received) if not limit \
        else sorted(heapq.nlargest(limit, records, key=_received), key=_received)
    rows = [_row(record, number) for record in by_time for number in range(record.rows)]
    return rows[-limit:] if limit else rows


def _received(record: PredictionRecord) -> int:
    return record.received_ns


def _records(folder: Path) -> Iterator[PredictionRecord]:
    """Every record; a segment that cannot be read is named and passed over."""
    from serinus.serving.prediction_log import entries
    from serinus.serving.prediction_log.frame import FrameError

    for entry in entries(folder):
        try:
            yield from entry.records()
        except (FrameError, OSError) as error:
            click.echo(f"serinus: {entry.path} is passed over: {error}.", err=True)


def _named(folder: Path, prediction: str, shadow: bool) -> list[dict[str, Any]]:
    """One prediction, or those of a whole request: the Open Inference Protocol's answers carry the stem alone."""
    from serinus.serving.ids import parse_prediction_id
    from serinus.serving.prediction_log import find
    from serinus.serving.prediction_log.frame import FrameError

    one = parse_prediction_id(prediction)
    stem = parse_prediction_id(f"{prediction}-0")
    if one is None and stem is None:
        raise CommandError(f"{prediction!r} is no prediction id: wanted one that an answer carried, such as "
                           "0190a6b2-7c3e-7000-8000-000000000000-0.")
    try:
        named = prediction if one is not None else f"{prediction}-0"
        record = _copied(folder, named) if shadow else find(folder, named)
    except (FrameError, OSError) as error:
        raise CommandError(f"The segment of prediction {prediction} cannot be read: {error}.") from None
    if record is None:
        raise CommandError(f"Prediction {prediction} is not in {folder}: it was answered by another home's server, or "
                           "it was removed when the log reached its size cap, or its age.")
    return [_row(record, number) for number in (range(record.rows) if one is None else [one.row])]


def _copied(folder: Path, prediction: str) -> PredictionRecord | None:
    """A shadow's records bear the ids that callers have, which do not say where they lie."""
    from serinus.serving.ids import parse_prediction_id

    name = parse_prediction_id(prediction)
    return next((record for record in _records(folder) if name and record.prediction_uuid == name.uuid), None)


def _row(record: PredictionRecord, number: int) -> dict[str, Any]:
    from serinus.serving.ids import prediction_id

    return {"prediction_id": prediction_id(record.prediction_uuid, number), "request_id": record.request_id,
            "time": _precise(record.received_ns), "model": record.model, "version": record.version,
            "role": record.role, "inputs": {name: array[number] for name, array in record.inputs.items()},
            "outputs": {name: array[number] for name, array in record.outputs.items()},
            "violations": record.violations or {}, "novelty": _novelty(record, number),
            "trace_id": f"{record.trace_id:032x}" if record.trace_id else None}


def _novelty(record: PredictionRecord, number: int) -> float | None:
    return None if record.novelty is None or isnan(record.novelty[number]) else float(record.novelty[number])


def _precise(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{iso(seconds)[:-1]}.{rest // 1000:06d}Z"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["time"][:23] + "Z", f"{row['model']}:{row['version']}", row["role"], row["prediction_id"],
            _values(row["outputs"]), _values(row["inputs"]))


def _values(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()}"
                    for name, value in values.items())
