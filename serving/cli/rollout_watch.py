"""What `rollout status --watch` draws on a terminal: the step, both arms, each check's evidence, the journal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from serinus.serving.cli.rollouts import Rollouts, bar
from serinus.serving.errors import CommandError, SerinusError
from serinus.serving.rollout.journal import explain
from serinus.serving.rollout.state import Phase, RolloutRecord
from serinus.serving.store import JournalEntry, StoreError

__all__ = ["Seen", "screen", "watch"]

_LOOK_S = 1.0
_CHECKS, _ENTRIES = 12, 4
_STYLES = {"successful": "green", "failed": "bold red", "inconclusive": "yellow", "error": "red", "running": "cyan"}
_NO_ANALYSIS: Mapping[str, Any] = {"verdict": "error", "reason": "Not known at present.", "risk": "", "checks": [],
                                   "judged": None}


@dataclass(frozen=True)
class Seen:
    """All that is drawn, as it was at Unix time `now`."""

    status: Mapping[str, Any]
    analysis: Mapping[str, Any]
    journal: Sequence[JournalEntry]
    traffic: Sequence[Mapping[str, Any]]
    now: float

    @property
    def record(self) -> RolloutRecord:
        """Where it stands."""
        return RolloutRecord.from_dict(self.status["record"])

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return not (self.record.running or self.record.phase is Phase.ROLLING_BACK)


def watch(rollouts: Rollouts, model: str, console: Console | None = None) -> None:
    """Draw anew every second, until the rollout is over or somebody presses Ctrl-C; what was drawn last stays."""
    seen = look(rollouts, model)
    with Live(screen(seen), console=console, auto_refresh=False) as live:
        while not seen.is_over:
            time.sleep(_LOOK_S)
            seen = look(rollouts, model)
            live.update(screen(seen), refresh=True)


def look(rollouts: Rollouts, model: str) -> Seen:
    """Ask for everything. What cannot be had for the moment is left out, but for the status."""
    status = rollouts.status(model)
    try:
        return Seen(status, rollouts.analysis(model), rollouts.journal(model), rollouts.traffic(), time.time())
    except (CommandError, SerinusError, StoreError) as error:
        return Seen(status, {**_NO_ANALYSIS, "reason": str(error)}, (), (), time.time())


def screen(seen: Seen) -> RenderableType:
    """One picture of a rollout."""
    record = seen.record
    parts = [_steps(record), Text(_time_left(record, seen.now), "dim"), Text(), _arms(seen), *_checks(seen.analysis),
             Text(), _verdict(seen.analysis), *_journal(seen, record)]
    title = f"[bold]{record.model}[/]: version {seen.analysis.get('candidate') or record.candidate or record.stable}"
    return Panel(Group(*parts), title=title, subtitle=_workers(seen.status), title_align="left", subtitle_align="left")


def _steps(record: RolloutRecord) -> RenderableType:
    """The plan from left to right, with the present step in reverse, and the candidate's share as a bar."""
    line, here = Text(), record.held or record.phase
    for name, is_here in _stations(record, here):
        line.append(f" {name} ", "reverse bold" if is_here else "dim").append(" ")
    weight = record.weight / 10_000
    line.append(f"  {bar(weight, room=20)} to the candidate", "bold")
    return line


def _stations(record: RolloutRecord, here: Phase) -> Iterator[tuple[str, bool]]:
    plan = record.plan
    judgement = plan.judgement if plan is not None else None
    if judgement is not None:
        yield "preflight", here is Phase.PREFLIGHT
        if judgement.shadow:
            yield f"shadow {judgement.shadow / 100:g} %", here is Phase.SHADOW
    for number, step in enumerate(plan.steps if plan is not None else ()):
        yield f"{step / 100:g} %", here is Phase.CANARY and record.step == number
    if judgement is not None and judgement.soak_s:
        yield "soak", here is Phase.SOAK
    taken_off = here in (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.REJECTED)
    yield (str(here).replace("_", " "), True) if taken_off else ("stable", here is Phase.PROMOTED)


def _time_left(record: RolloutRecord, now: float) -> str:
    if record.phase in (Phase.HOLD, Phase.FROZEN):
        why = f" for {record.cause}" if record.cause else f" by {record.actor}"
        return f"{record.phase}{why}, for {_duration(now - record.updated)}"
    judgement = record.plan.judgement if record.plan is not None else None
    if judgement is None or record.phase is Phase.PREFLIGHT or not record.running:
        return f"{str(record.phase).replace('_', ' ')}, for {_duration(now - record.updated)}"
    whole = {Phase.SHADOW: judgement.shadow_s, Phase.SOAK: judgement.soak_s}.get(record.phase, judgement.step_s)
    elapsed = record.elapsed_at(now)
    left = f"at least {_duration(whole - elapsed)} to go" if elapsed < whole else "its time is over"
    return f"{record.phase}, for {_duration(elapsed)}, {left}"


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _arms(seen: Seen) -> RenderableType:
    """Both versions side by side, by what all servers counted in the last quarter of an hour."""
    table = Table("version", "role", box=None, header_style="dim", pad_edge=False)
    for head in ("requests", "failed", "refused", "p50", "p95", "p99"):
        table.add_column(head, justify="right")
    for (version, role), (numbers, buckets) in sorted(_served(seen).items(), key=lambda arm: arm[0][1] != "stable"):
        times = [_milliseconds(buckets, seen.traffic[0]["bounds_ms"], share) for share in (0.5, 0.95, 0.99)]
        requests, failed, refused = numbers
        table.add_row(version, role, f"{requests:,}", _percent(failed, requests), _percent(refused, requests), *times)
    return table if table.row_count else Text("No request in the last quarter of an hour.", "dim")


def _served(seen: Seen) -> dict[tuple[str, str], tuple[list[int], list[int]]]:
    """By version and role: requests, failed and refused ones, and how many took how long."""
    record, found = seen.record, dict[tuple[str, str], tuple[list[int], list[int]]]()
    judged = seen.analysis["judged"] or {}
    wanted = {record.stable, record.candidate, *(judged.get(arm) for arm in ("stable", "candidate"))}
    for point in (point for told in seen.traffic for point in told["points"]):
        for model, version, role, requests, _, failed, refused, buckets in point["served"]:
            if model == record.model and version in wanted:
                numbers, known = found.get((version, role), ([0, 0, 0], [0] * len(buckets)))
                found[version, role] = _sum(numbers, (requests, failed, refused)), _sum(known, buckets)
    return found


def _sum(one: Iterable[int], other: Iterable[int]) -> list[int]:
    return [first + second for first, second in zip(one, other, strict=True)]


def _milliseconds(buckets: Sequence[int], bounds: Sequence[float], share: float) -> str:
    """A quantile of a histogram, by straight lines within its buckets."""
    wanted, reached, low = share * sum(buckets), 0, 0.0
    for count, high in zip(buckets, bounds, strict=False):
        if count and reached + count >= wanted:
            return f"{low + (high - low) * (wanted - reached) / count:.3g} ms"
        reached, low = reached + count, high
    return f"> {bounds[-1]:g} ms"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2g} %" if whole else ""


def _checks(analysis: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What is compared, the most suspicious first, each with how much of the evidence that rolls back is there."""
    checks = sorted(analysis["checks"], key=lambda check: -check["meter"])
    if not checks:
        return
    table = Table("compared", "candidate", "stable", "evidence of harm", "", box=None, header_style="dim",
                  pad_edge=False)
    for check in checks[:_CHECKS]:
        style = "bold red" if check["harmful"] else "yellow" if check["meter"] >= 0.5 else "green"
        table.add_row(check["name"], *(_count(check, arm) for arm in ("candidate", "stable")),
                      Text(bar(check["meter"]), style),
                      Text(f"{check['e_value']:,.3g} to one of {check['e_needed']:,.0f}", "dim"))
    yield Text()
    yield table
    if len(checks) > _CHECKS:
        yield Text(f"{len(checks) - _CHECKS} more: serinus rollout explain", "dim")


def _count(check: Mapping[str, Any], arm: str) -> str:
    units = check[f"{arm}_units"]
    return f"{check[arm]:,} of {units:,}"


def _verdict(analysis: Mapping[str, Any]) -> RenderableType:
    text = Text.assemble((str(analysis["verdict"]), _STYLES.get(str(analysis["verdict"]), "")), ": ",
                         str(analysis["reason"]))
    return text.append(f"\nNot known: {analysis['risk']}.", "dim") if analysis["risk"] else text


def _journal(seen: Seen, record: RolloutRecord) -> Iterator[RenderableType]:
    mine = [entry for entry in seen.journal if entry.body.get("rollout_id") == record.rollout_id]
    if mine:
        yield Text()
    for entry in mine[-_ENTRIES:]:
        yield Text(explain(entry), "dim", no_wrap=True, overflow="ellipsis")


def _workers(status: Mapping[str, Any]) -> str:
    workers = status["workers"]
    following = sum(worker["follows"] for worker in workers)
    said = f"{following} of {len(workers)} workers follow" if workers else "no server runs"
    veto = status["veto"]
    vetoed = f" · version {veto['stable']} answers alone, by {veto['actor']}" if veto else ""
    return f"{said}{vetoed} · Ctrl-C leaves, the rollout goes on"
