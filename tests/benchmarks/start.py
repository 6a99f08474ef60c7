"""From the start of the process to the first answered prediction: `python -m tests.benchmarks --start`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.measure import new_home, running
from tests.benchmarks.servers import Server

MOST_SECONDS = 1.5
STARTS = {"first": "in a new home, where the model is registered first", "again": "in the same home"}


def measure_starts(server: Server, venvs: Path) -> dict[str, Any]:
    """Start `server` twice in one home and return the seconds of each; the answer is checked."""
    with new_home() as home:
        return {"server": server.name, **{kind: round(_seconds(server, venvs, home), 3) for kind in STARTS}}


def _seconds(server: Server, venvs: Path, home: Path) -> float:
    body = server.subject(1).body(server.protocol).encode()
    with running(server, venvs, home) as run:
        seconds = run.family.wait_for_answer(run.url, body)
        run.body(1)
    return seconds


def text(rounds: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the report; differences are taken within a round."""
    by_server = {
        name: [next(each for each in one["servers"] if each["server"] == name) for one in rounds]
        for name in (each["server"] for each in rounds[0]["servers"])
    }
    bare = by_server.get("bentoml")
    for kind, meaning in STARTS.items():
        yield f"\nSeconds to the first answer {meaning}: medians over {len(rounds)} round(s)"
        for name, mine in by_server.items():
            line = f"{name:<28}{median(each[kind] for each in mine):>8.2f}"
            if bare and name != "bentoml":
                more = median(a[kind] - b[kind] for a, b in zip(mine, bare, strict=True))
                verdict = "reached" if more <= MOST_SECONDS else "MISSED"
                line += f"   {more:+.2f} to bare BentoML, wanted ≤ +{MOST_SECONDS}: {verdict}"
            yield line
