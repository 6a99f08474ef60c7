"""`python -m tests.benchmarks.drift [--only NAME] [--quick] [--json FILE] [--markdown FILE]`: the tables.

`--json` keeps the answers: what is there of other detectors stays, so they may be asked one after the other.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.drift.peers import OURS, PEERS, Program, program
from tests.benchmarks.drift.report import page
from tests.benchmarks.drift.trial import EFFORTS, try_out
from tests.benchmarks.peers import PeerError, default_venvs


def main() -> None:
    """Ask the detectors, and print what came out."""
    names = (*OURS, *PEERS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=names, action="append", help="ask this detector only; may be repeated")
    parser.add_argument("--skip", action="store_true", help="ask none, and print what --json has")
    parser.add_argument("--quick", action="store_const", dest="effort", const="quick", help="does everything work?")
    parser.add_argument("--effort", choices=EFFORTS, default="full", help="how many windows; default full")
    parser.add_argument("--venvs", type=Path, default=default_venvs())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    known = options.json is not None and options.json.is_file()
    answers: dict[str, Any] = json.loads(options.json.read_text("utf-8")) if known else {}
    for name in () if options.skip else options.only or names:
        began = time.monotonic()
        answers[name] = _asked(name, options.venvs, options.effort)
        print(f"{name}: {time.monotonic() - began:.0f} s {answers[name].get('failed', '')}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(answers), "utf-8")
    text = page({name: answers[name] for name in names if name in answers})
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n", "utf-8")


def _asked(name: str, venvs: Path, effort: str) -> dict[str, Any]:
    try:
        peer: Program = program(name, venvs)
        return try_out(peer, EFFORTS[effort])
    except PeerError as error:
        return {"failed": str(error).splitlines()[-1]}


if __name__ == "__main__":
    main()
