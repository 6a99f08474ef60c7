"""`python -m tests.benchmarks.rollouts [--runs 250] [--null 2000] [--ours] [--only NAME] [--json FILE]`: a table."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np

from serinus.monitors.sequential.confidence_sequences import probability_bounds
from tests.benchmarks.rollouts.policies import HELD, OURS, POLICIES, PROMOTED, ROLLED_BACK, Ending
from tests.benchmarks.rollouts.scenarios import SCENARIOS, Scenario, play


def main() -> None:
    """Play every scenario, and print the share of runs that each policy rolled back and what callers saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=250)
    parser.add_argument("--null", type=int, default=2_000, help="runs of the scenarios in which nothing is wrong")
    parser.add_argument("--ours", action="store_true", help="our own policies only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a scenario's name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    policies = OURS if options.ours else tuple(POLICIES)
    began, cells = time.monotonic(), {}
    for number, scenario in enumerate(SCENARIOS):
        if options.only in scenario.name:
            runs = options.null if scenario.name.startswith("no change") else options.runs
            cells[scenario.name] = run(scenario, runs, options.seed * 1_000 + number, policies)
            print(f"{scenario.name}: {time.monotonic() - began:.0f} s", flush=True)
    print("\n".join(table(cells)))
    if options.json:
        options.json.write_text(json.dumps(cells, indent=1))


def run(scenario: Scenario, runs: int, seed: int, policies: Sequence[str]) -> dict[str, dict[str, float]]:
    """These policies on the same courses of one scenario; each course has a seed of its own, so processes do not
    matter."""
    with ProcessPoolExecutor() as processes:
        seeds = ((seed, number) for number in range(runs))
        courses = list(processes.map(partial(endings, policies=policies), repeat(scenario), seeds, chunksize=10))
    return {name: _summary([course[place] for course in courses]) for place, name in enumerate(policies)}


def endings(scenario: Scenario, seed: tuple[int, int], policies: Sequence[str]) -> list[Ending]:
    """How one course of the scenario ends by each policy."""
    course = play(scenario, np.random.default_rng(seed))
    return [POLICIES[name](course) for name in policies]


def _summary(found: list[Ending]) -> dict[str, float]:
    shares = {how: sum(ending.how == how for ending in found) / len(found) for how in (ROLLED_BACK, HELD, PROMOTED)}
    stopped = [ending for ending in found if ending.how == ROLLED_BACK]
    return {**shares, "runs": len(found), "exposed": float(np.median([ending.exposed for ending in found])),
            "minutes": float(np.median([ending.minutes for ending in stopped])) if stopped else float("nan"),
            "high": probability_bounds(len(stopped), len(found)).high}


def table(cells: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """The results as a Markdown table: rolled back (held) | median requests that the candidate answered."""
    policies = list(next(iter(cells.values()), {}))
    lines = ["| scenario | " + " | ".join(policies) + " |", "|---" * (len(policies) + 1) + "|"]
    for scenario, by_policy in cells.items():
        row = [_cell(by_policy[name]) for name in policies]
        lines.append(f"| {scenario} | " + " | ".join(row) + " |")
    return lines


def _cell(summary: dict[str, float]) -> str:
    held = f" (held {100 * summary[HELD]:.3g} %)" if summary[HELD] else ""
    return f"{100 * summary[ROLLED_BACK]:.3g} %{held} / {summary['exposed']:,.0f}"


if __name__ == "__main__":
    main()
