"""The demo as its tests run it; and many of its runs, one after the other:

    python -m tests.integration.demo --seeds 0-9 --scenarios story,good,bad,drift-only

One line is printed for each run. A run that fails ends nothing; what it said is kept. `DEMO.md` gets the table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).parents[2]
PAGE = Path(__file__).with_name("DEMO.md")
ENDS = {"story": (1, 2, "1"), "good": (1, 0, "2"), "bad": (0, 1, "1"), "drift-only": (1, 0, "2")}
"""How often a version is promoted and rolled back in each scenario, and which one is stable at the end."""
PATIENCE_S = 1800.0
_MARK = "DEMO_TEST"
_PAGE = """# Runs of the demo

Each run trains, serves, tries versions and drifts on a home of its own. It ended as it should when every claim that it
makes held, when the versions that were promoted and rolled back are those of its scenario, when no process was left,
and when every figure that it told is that of the public commands with `--json`.

```bash
{command}
```

{day}, {processors} processors:

| scenario | seeds | ended as it should | claims held | figures compared | seconds, median (range) |
|---|---|---|---|---|---|
{rows}
{wrong}"""


@dataclass(frozen=True)
class Told:
    """A demo that has ended: what it said, with which code, in which environment, and where its home is."""

    output: str
    code: int
    environ: dict[str, str]
    home: Path
    page: int = 0
    """The status of the server's own page while it stayed."""

    @property
    def plain(self) -> str:
        """What it said as one line."""
        return " ".join(self.output.split())

    def run(self, *arguments: str) -> str:
        """What a public command says of the home."""
        return subprocess.run([sys.executable, "-m", "serinus", *arguments, "--home", str(self.home)],
                              env=self.environ, capture_output=True, text=True, check=False).stdout

    def ask(self, *arguments: str) -> Any:
        """What it says with `--json`."""
        return json.loads(self.run(*arguments, "--json"))


class Figure(NamedTuple):
    """One figure as it was told, and as it is by a public command."""

    what: str
    said: object
    found: object


class Run(NamedTuple):
    """One run: how long it took, how many claims of its own held, how many figures were compared, what was wrong."""

    scenario: str
    seed: int
    seconds: float
    claims: int
    figures: int
    problems: tuple[str, ...]

    @property
    def line(self) -> str:
        """The run in one line."""
        ended = f"FAILED: {self.problems[0]}" if self.problems else "ended as it should"
        return (f"{self.scenario:<11} seed {self.seed:<4}{self.seconds:7.1f} s  {self.claims:3} claims held, "
                f"{self.figures:3} figures compared; {ended}")


def environment(folder: Path) -> dict[str, str]:
    """An environment whose temporary files lie in `folder`, so that what is left behind is seen."""
    temporary = folder / "tmp"
    temporary.mkdir()
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1",
            _MARK: str(temporary)}


def start(environ: dict[str, str], folder: Path, *flags: str) -> subprocess.Popen[str]:
    """A demo under way."""
    return subprocess.Popen([sys.executable, "-m", "serinus", "demo", *flags], env=environ, cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def processes(environ: dict[str, str]) -> Iterator[int]:
    """Everything that was started with this environment and lives."""
    mark = f"{_MARK}={environ[_MARK]}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


def figures(told: Told) -> Iterator[Figure]:
    """Everything that was told, beside what `--json` of the commands says."""
    rows = told.run("log", "show", "--limit", "0", "--json").splitlines()
    logged = Counter(json.loads(row)["version"] for row in rows)
    (said,) = re.findall(r"(\d+) predictions answered, (\d+) found exactly once", told.output)[-1:]
    yield Figure("predictions in the log", (int(said[0]), int(said[1])), (logged.total(), logged.total()))
    windows = told.ask("feedback", "tumour")["models"]["tumour"]["windows"]
    for version, joined in re.findall(r"Version (\d): (\d+) truths joined", told.output):
        yield Figure(f"truths of version {version}", int(joined),
                     sum(window["labelled"] for window in windows if window["version"] == version))
        yield Figure(f"version {version} gave an answer for each of its truths", True, logged[version] >= int(joined))
    journal = told.ask("rollout", "journal", "tumour")
    yield from _of_rollouts(told, journal)
    yield from _of_drift(told, journal)


def _of_rollouts(told: Told, journal: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    for check in told.ask("rollout", "explain", "tumour")["checks"]:
        if check["name"] in ("errors", "ground_truth:pairs"):
            text = f"{check['text']}; evidence of harm {check['e_value']:.3g}"
            yield Figure(text, True, text in told.plain)
    for entry in journal:
        if entry["kind"] in ("advance", "promote"):
            text = " ".join(f"{entry['body']['text']} {entry['reason']}".split())
            yield Figure(text, True, text in told.plain)


def _of_drift(told: Told, journal: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """Which feature, since when, with how much evidence: by the alert's entry, and, while it is open, by the status."""
    drifts = re.findall(r"(?:alarm|act) after [\d.]+ s: ([^,]+), .+?, evidence (\d+)%\. Drift since row", told.plain)
    alerts = [entry["body"]["summary"] for entry in journal if entry["kind"] in ("alert.pending", "alert.firing")
              and entry["body"]["alert_kind"] == "drift" and entry["body"]["version"] == "2"]
    views = [view for view in told.ask("monitor", "status")["versions"]
             if view["version"] == "2" and view["state"] in ("alarm", "act")]
    for name, evidence in drifts:
        yield Figure(f"the drift of {name} is in the journal as it was told", True,
                     any(f"evidence {evidence}%. {_begin(summary, name)}" in told.plain for summary in alerts))
        for view in views:
            yield Figure(view["text"], True, _begin(view["text"], name) in told.plain)
            yield Figure("what drifted", (name, int(evidence)),
                         (view["drift"]["features"][0]["name"], round(100 * view["drift"]["evidence"])))


def _begin(text: str, name: str) -> str:
    """A drift's text to its first feature's name: how far it moved, and what else did, grows with the rows."""
    return text[:text.index(name) + len(name)] if name in text else text


def endings(scenario: str, told: Told) -> Iterator[Figure]:
    """How it ended, and how it should have."""
    yield Figure("exit code", 0, told.code)
    kinds = Counter(entry["kind"] for entry in told.ask("rollout", "journal", "tumour"))
    stable = told.ask("rollout", "status", "tumour")["record"]["stable"]
    yield Figure("promotions, rollbacks, stable version", ENDS[scenario],
                 (kinds["promote"], kinds["roll_back"], stable))
    yield Figure("turned away", 0, kinds["reject"])
    yield Figure("processes left", [], list(processes(told.environ)))


def differing(figures: Iterable[Figure]) -> list[str]:
    """What is not as it was told, a sentence each."""
    return [f"{each.what}: said {each.said}, found {each.found}" for each in figures if each.said != each.found]


def tell(scenario: str, seed: int, folder: Path, *flags: str, environ: dict[str, str] | None = None) -> Told:
    """A whole run in a folder of its own. Raises TimeoutExpired; however this ends, the demo has ended."""
    environ, home = environ or environment(folder), folder / "home"
    process = start(environ, folder, *flags, "--scenario", scenario, "--seed", str(seed), "--home", str(home))
    try:
        output, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(120)
    return Told(output, process.returncode, environ, home)


def run(scenario: str, seed: int, folder: Path, *flags: str) -> Run:
    """A run and everything that is checked of it; what it said lies in `folder`."""
    began, said, compared, problems = time.monotonic(), "", 0, []
    try:
        told = tell(scenario, seed, folder, *flags)
        took, said = time.monotonic() - began, told.output
        (folder / "said.txt").write_text(said, encoding="utf-8")
        found = [*endings(scenario, told), *figures(told)]
        compared, problems = len(found), differing(found)
    except (subprocess.TimeoutExpired, ValueError, LookupError) as error:
        took = time.monotonic() - began
        problems = [f"{type(error).__name__}: {error}"]
    failed = [line.strip() for line in said.splitlines() if line.startswith(" ✗")]
    return Run(scenario, seed, took, said.count("\n ✓ "), compared, (*failed, *problems))


def page(runs: Sequence[Run], command: str, day: str) -> str:
    """The page of all runs."""
    by_scenario = {scenario: [each for each in runs if each.scenario == scenario] for scenario in ENDS}
    rows = "\n".join(_row(scenario, own) for scenario, own in by_scenario.items() if own)
    wrong = [f"- {each.scenario}, seed {each.seed}: {problem}" for each in runs for problem in each.problems]
    return _PAGE.format(command=command, day=day, processors=os.cpu_count(), rows=rows,
                        wrong="\n".join(["", "What was wrong:", "", *wrong, ""]) if wrong else "")


def _row(scenario: str, runs: Sequence[Run]) -> str:
    times = [each.seconds for each in runs]
    cells = (scenario, ", ".join(str(each.seed) for each in runs),
             f"{sum(not each.problems for each in runs)} of {len(runs)}", f"{sum(each.claims for each in runs):,}",
             f"{sum(each.figures for each in runs):,}",
             f"{median(times):.0f} ({min(times):.0f} to {max(times):.0f})")
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Exit codes: 0 every run ended as it should, 1 one did not, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="demo-runs-"))
    os.environ["PYTHONPYCACHEPREFIX"] = str(root / "compiled")  # as of an installed package: once, not in each process
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = " ".join(["python -m tests.integration.demo", *(sys.argv[1:] if arguments is None else arguments)])
    runs: list[Run] = []
    for seed in options.seeds:
        for scenario in options.scenarios:
            folder = root / f"{scenario}-{seed}"
            folder.mkdir()
            runs.append(run(scenario, seed, folder, *([] if options.calm else ["--fast"])))
            print(f"{runs[-1].line} ({folder})" if runs[-1].problems else runs[-1].line, flush=True)
            if not runs[-1].problems:
                shutil.rmtree(folder)
            options.page.write_text(page(runs, command, f"{datetime.now(UTC):%Y-%m-%d}"), encoding="utf-8")
    return 1 if any(each.problems for each in runs) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.integration.demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=_seeds, default=_seeds("0-9"), help="such as 0-9 or 3,5 (default 0-9)")
    parser.add_argument("--scenarios", type=_scenarios, default=list(ENDS), help=f"of {','.join(ENDS)} (default all)")
    parser.add_argument("--calm", action="store_true", help="without --fast")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table is written")
    return parser


def _seeds(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _scenarios(text: str) -> list[str]:
    if unknown := set(text.split(",")) - set(ENDS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(ENDS)}")
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())
