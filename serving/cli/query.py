"""`serinus log query`: SQL over the prediction log and ground truth."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import orjson

from serinus.serving.access import note_access, without_values
from serinus.serving.cli.options import actor_option, actor_or_user, home_option, open_home
from serinus.serving.cli.output import short, table, width
from serinus.serving.home import Home
from serinus.serving.store import GroundTruth

__all__ = ["command"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


@click.command("query")
@click.argument("sql")
@click.option("--model", help="Only this model's predictions; files of others are not opened.")
@click.option("--last", metavar="TIME", help="Only those of the last 90s, 15m, 24h, 7d or 4w.")
@click.option("--shadow", is_flag=True, help="What shadows predicted, in place of what callers got.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, one object per row.")
@actor_option
@home_option
def command(sql: str, model: str | None, last: str | None, shadow: bool, as_json: bool, actor: str | None,
            home: Path | None) -> None:
    """Ask the log in SQL (DuckDB): views `predictions` and `ground_truth`.

    \b
    serinus log query 'SELECT model, version, count(*) FROM predictions GROUP BY ALL'
    serinus log query "SELECT inputs.age, outputs.predict, value FROM predictions
                       JOIN ground_truth USING (prediction_id) WHERE kind = 'final'"
    """
    from serinus.serving.prediction_log import Choice
    from serinus.serving.prediction_log.query import query

    place = open_home(home)
    choice = Choice(model, since_ns=None if last is None else time.time_ns() - _seconds(last) * 10**9)
    truths = _truths(place) if "ground_truth" in sql.lower() else ()
    with query(sql, place.shadow_log if shadow else place.log, choice, truths) as answer:
        rows = list(answer.rows)
        note_access(place, actor_or_user(actor), "cli", f"query {without_values(sql)}", len(rows))
        if as_json:
            for row in rows:
                click.echo(_json(dict(zip(answer.columns, row, strict=True))))
        elif answer.columns:
            lines = table([name.upper() for name in answer.columns], [[_cell(value) for value in row] for row in rows])
            click.echo("\n".join(short(line, width()) for line in lines))


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if match is None:
        raise click.BadParameter(f"expected a time such as 24h or 7d, got {text!r}.", param_hint="--last")
    return int(match[1]) * _UNITS[match[2]]


def _truths(home: Home) -> Iterable[GroundTruth]:
    """All that is known; nothing where there is no store yet."""
    from serinus.serving.store import SqliteStore

    if not home.store.exists():
        return ()
    store = SqliteStore(home.store, create=False)
    try:
        return store.ground_truth_between("", "g")
    finally:
        store.close()


def _json(value: Any) -> str:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else _json(value).strip('"')
