"""`serinus rollout plan` and `simulate`: what a plan can find and prove, how long it takes, and how it would end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serinus.serving.cli.options import home_option, json_option, open_home, url_option
from serinus.serving.cli.output import print_json, table
from serinus.serving.errors import CommandError
from serinus.serving.rollout.judgement import RARE, Judgement
from serinus.serving.rollout.state import Phase, Plan

if TYPE_CHECKING:
    from serinus.serving.rollout.planner import Outlook, Traffic

__all__ = ["plan", "simulate"]

_STEPS = "5,25,50"
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0


def _of_a_plan(function: Callable[..., Any]) -> Callable[..., Any]:
    """What says which plan, and what comes in."""
    for option in (
        json_option,
        click.option("--labels-delay", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS",
                     help="How late ground truth is."),
        click.option("--labels", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE",
                     help="Share of the requests whose ground truth arrives."),
        click.option("--wrong", type=click.FloatRange(0, 1), default=0.1, show_default=True, metavar="SHARE",
                     help="Share of stable's predictions that turn out wrong."),
        click.option("--errors", type=click.FloatRange(0, 1), metavar="SHARE",
                     help="Share of stable's answers that are errors (default: measured, else 0.01)."),
        click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="PER_SECOND",
                     help="Requests per second (default: measured on a running server)."),
        click.option("--shadow", type=click.FloatRange(0, 100), default=10.0, show_default=True, metavar="PERCENT"),
        click.option("--steps", default=_STEPS, show_default=True, help="Percents, rising."),
        click.option("--plan", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                     help="The whole plan, in place of --steps and --shadow."),
    ):
        function = option(function)
    return function


@click.command("plan")
@click.argument("tag", metavar="[NAME:VERSION]", required=False)
@_of_a_plan
@click.option("--measure", "seconds", type=click.FloatRange(min=0.1), default=5.0, show_default=True,
              metavar="SECONDS", help="How long to look at a running server.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of plan files, and nothing else.")
@home_option
@url_option
def plan(tag: str | None, file: Path | None, steps: str, shadow: float, rate: float | None, errors: float | None,
         wrong: float, labels: float, labels_delay: float, seconds: float, schema: bool, home: Path | None,
         url: str | None, as_json: bool) -> None:
    """What each step of a rollout can find at this rate, how long it takes, and with which words it ends."""
    from serinus.serving.rollout import plan_file
    from serinus.serving.rollout.planner import outlook

    if schema:
        print_json(plan_file.schema())
        return
    traffic = _traffic(tag, rate, errors, wrong, labels, labels_delay, seconds, home, url)
    chosen = _chosen(file, steps, shadow)
    found = outlook(chosen, traffic)
    if as_json:
        print_json({"traffic": _plain(traffic), "plan": plan_file.to_document(chosen), **_document(found)})
    else:
        click.echo("\n".join(_told(found, chosen, traffic)))


@click.command("simulate")
@click.argument("model", metavar="[NAME]", required=False)
@_of_a_plan
@click.option("--candidate-errors", type=click.FloatRange(0, 1), metavar="SHARE", help="The candidate's errors.")
@click.option("--candidate-failures", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE",
              help="Its exceptions and crashes.")
@click.option("--candidate-slow", type=click.FloatRange(0, 1), default=0.01, metavar="SHARE",
              help="Its requests that are slower than stable's 99th percentile.")
@click.option("--candidate-wrong", type=click.FloatRange(0, 1), metavar="SHARE", help="Its wrong predictions.")
@click.option("--runs", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@home_option
def simulate(model: str | None, file: Path | None, steps: str, shadow: float, rate: float | None,
             errors: float | None, wrong: float, labels: float, labels_delay: float, candidate_errors: float | None,
             candidate_failures: float, candidate_slow: float, candidate_wrong: float | None, runs: int, seed: int,
             home: Path | None, as_json: bool) -> None:
    """How a plan would end: for a made-up candidate, or, with NAME, on what NAME's latest rollout counted."""
    import numpy as np

    from serinus.serving.rollout.planner import Traffic
    from serinus.serving.rollout.simulate import Behaviour, play

    chosen = _chosen(file, steps, shadow)
    if model is not None:
        _replay(model, chosen, home, as_json)
        return
    if rate is None:
        raise click.UsageError("Say what comes in, --rate REQUESTS_PER_SECOND, or whose rollout to replay, NAME.")
    traffic = Traffic(rate, 0.01 if errors is None else errors, wrong, labels, labels_delay)
    behaviour = Behaviour(candidate_errors, candidate_failures, candidate_slow, candidate_wrong)
    ends = [play(chosen, traffic, behaviour, np.random.default_rng([seed, number])) for number in range(runs)]
    if as_json:
        print_json([end._asdict() for end in ends])
        return
    for phase in dict.fromkeys(end.phase for end in ends):
        those = [end for end in ends if end.phase is phase]
        word = {Phase.ROLLING_BACK: "rolled back", Phase.HOLD: "held"}.get(phase, str(phase))
        click.echo(f"{len(those)} of {runs} {word}, after {_span(float(np.median([end.seconds for end in those])))} "
                   f"and {np.median([end.exposed for end in those]):,.0f} answers of the candidate (medians). One: "
                   f"{those[0].reason}")


def _replay(model: str, chosen: Plan, home: Path | None, as_json: bool) -> None:
    from serinus.serving.cli.recorded import recorded
    from serinus.serving.rollout.simulate import replay

    assert chosen.judgement is not None
    evidence = recorded(open_home(home), model)
    told = replay(chosen.judgement, evidence.windows, evidence.pairs)
    if as_json:
        print_json([{"step_id": one.step_id, "window": one.window, "action": str(one.verdict.action),
                     "reason": one.verdict.reason, "risk": one.verdict.risk} for one in told])
        return
    for one in told:
        click.echo(f"window {one.window + 1} of {len(evidence.windows)}, step {one.step_id.rpartition('/')[2]}: "
                   f"{one.verdict.action}. {one.verdict.reason}")


def _chosen(file: Path | None, steps: str, shadow: float) -> Plan:
    from serinus.serving.rollout import plan_file

    if file is not None:
        return plan_file.read(file)
    by_hand = Plan.from_percents(steps)
    return replace(by_hand, manual=False, judgement=Judgement(shadow=round(shadow * 100)))


def _traffic(tag: str | None, rate: float | None, errors: float | None, wrong: float, labels: float,
             labels_delay: float, seconds: float, home: Path | None, url: str | None) -> Traffic:
    from serinus.models.version import split_tag
    from serinus.serving.rollout.planner import Traffic

    if rate is None:
        from serinus.serving.cli.traffic import measure

        if tag is None:
            raise CommandError("Which model's traffic? Say NAME:VERSION where a server runs, or --rate "
                               "REQUESTS_PER_SECOND.")
        measured = measure(home, url, split_tag(tag)[0], seconds)
        rate, errors = measured.rate, measured.errors if errors is None else errors
    return Traffic(rate, 0.01 if errors is None else errors, wrong, labels, labels_delay)


def _told(found: Outlook, chosen: Plan, traffic: Traffic) -> Iterator[str]:
    yield (f"At {traffic.rate:.3g} requests/s, {100 * traffic.errors:.2g} % of them errors"
           + (f", ground truth of {100 * traffic.labelled:.3g} % after {_span(traffic.labels_delay_s)}"
              if traffic.labelled else ", no ground truth") + ":")
    rows = [(str(step.phase), f"{100 * step.weight:g} %", _span(step.seconds), f"{step.candidate_requests:,.0f}",
             _rate(step.errors, traffic.errors), _rate(step.tail, 0.01), _rate(step.wrong, traffic.wrong), step.ends)
            for step in found.steps]
    lines = table(("STEP", "SHARE", "LASTS", "REQUESTS", "FINDS ERRORS", "SLOWER THAN p99", "WRONG", "ENDS"), rows)
    yield from (f"  {line}" for line in lines)
    yield f"In all {_span(found.seconds)}. {found.verdict}"
    judgement = chosen.judgement
    if judgement is not None:
        yield (f"A version that is no worse is rolled back in at most {100 * judgement.alpha:g} % of rollouts, however "
               "often one looks. FINDS: the smallest rate that half of the rollouts find by the end of the step. "
               f"Certified: every rate is below {judgement.margin:g} times stable's, or rare, which is below "
               f"{100 * max(RARE, judgement.tolerance):g} %.")
    yield from found.remarks


def _rate(ratio: float, base: float) -> str:
    return "-" if isinf(ratio) else f"{100 * base:.3g} → {100 * base * ratio:.3g} %"


def _span(seconds: float) -> str:
    if isinf(seconds):
        return "never"
    for size, name in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def _document(found: Outlook) -> dict[str, Any]:
    steps = [{**step._asdict(), "phase": str(step.phase),
              **{name: None if isinf(getattr(step, name)) else getattr(step, name)
                 for name in ("errors", "tail", "wrong")}} for step in found.steps]
    return {"steps": steps, "seconds": found.seconds, "verdict": found.verdict, "remarks": list(found.remarks)}


def _plain(traffic: Traffic) -> dict[str, float]:
    return {"rate": traffic.rate, "errors": traffic.errors, "wrong": traffic.wrong, "labelled": traffic.labelled,
            "labels_delay_s": traffic.labels_delay_s}
