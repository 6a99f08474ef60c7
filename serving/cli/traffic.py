"""What a running server answers at present: requests per second of a model, and the share of errors."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from serinus.serving.cli.options import open_home
from serinus.serving.errors import CommandError
from serinus.serving.home import Home
from serinus.serving.rollback import live_boards

__all__ = ["Counts", "Measured", "counts_of_metrics", "measure"]

_LINE = re.compile(r"^http_server_request_duration_seconds_count\{(.*)\} (\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Counts(NamedTuple):
    """Requests so far, and errors among them."""

    requests: int
    errors: int


class Measured(NamedTuple):
    """Requests per second now, and the share of errors since the servers started."""

    rate: float
    errors: float
    requests: int


def measure(home: Path | None, url: str | None, model: str, seconds: float,
            sleep: Callable[[float], None] = time.sleep) -> Measured:
    """Look twice, `seconds` apart. Raises CommandError where nothing comes in."""
    remote = url if home is None else None

    def look() -> Counts:
        return counts_of_metrics(_metrics(remote), model) if remote else _counts_of_boards(open_home(home), model)

    first, began = look(), time.monotonic()
    sleep(seconds)
    last, took = look(), time.monotonic() - began
    came = last.requests - first.requests
    if came <= 0 or took <= 0:
        raise CommandError(f"No request for {model!r} came in within {seconds:g} s, so its rate is not known: say it "
                           "with --rate REQUESTS_PER_SECOND.")
    return Measured(came / took, last.errors / last.requests, last.requests)


def counts_of_metrics(page: str, model: str) -> Counts:
    """The counts of a model on a page of metrics in Prometheus' text form."""
    found = [(dict(_LABEL.findall(labels)), float(number)) for labels, number in _LINE.findall(page)]
    return _sum((labels.get("error_type", ""), int(number)) for labels, number in found
                if labels.get("serinus_model_name") == model)


def _counts_of_boards(home: Home, model: str) -> Counts:
    return _sum((labels.error_type, series.requests) for board in live_boards(home)
                for labels, series in board.series.items() if labels.model == model)


def _sum(counts: Iterable[tuple[str, int]]) -> Counts:
    known = list(counts)
    return Counts(sum(number for _, number in known), sum(number for error, number in known if error))


def _metrics(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/metrics", timeout=30) as answer:
            return str(answer.read().decode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{url} cannot be asked: {error}. Does a server listen there?") from None
