"""The gate: ten checks of a version, and what they amount to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from serinus.monitors.evaluation.check import Check, Status, plain
from serinus.monitors.evaluation.policy import Policy

__all__ = ["FORMAT", "Evaluated", "Gate", "Verdict", "judge"]

FORMAT = 1


class Verdict(StrEnum):
    """What a script should do."""

    PASS = "pass"
    """Let it on; remarks may stand beside it."""
    FAIL = "fail"
    """Do not: a check failed."""
    UNDECIDED = "undecided"
    """Not yet: a check that must be made could not be told, mostly for want of rows."""


@dataclass(frozen=True)
class Evaluated:
    """What was judged.

    Attributes:
        model, version: the version.
        against: the version it was held against; empty for the first.
        data: the evaluation set's file.
        digest: of its rows.
        rows: how many rows were judged.
        left_out: how many had no ground truth or no answer.
        target: the column that came true.
        at: when, in ISO 8601.
    """

    model: str
    version: str
    against: str
    data: str
    digest: str
    rows: int
    left_out: int
    target: str
    at: str

    @property
    def tag(self) -> str:
        """The version as text."""
        return f"{self.model}:{self.version}"


@dataclass(frozen=True)
class Gate:
    """The result of an evaluation."""

    evaluated: Evaluated
    verdict: Verdict
    checks: tuple[Check, ...]
    policy: Mapping[str, Any]
    classes: tuple[str, ...]

    def check(self, name: str) -> Check:
        """Give the check of this name."""
        return next(check for check in self.checks if check.name == name)

    @property
    def sentence(self) -> str:
        """The verdict in a sentence or two: what speaks against the version, or how much was looked at."""
        counts = {status: [check for check in self.checks if check.status is status] for status in Status}
        if self.verdict is Verdict.FAIL:
            return " ".join(f"{check.name.capitalize()}: {check.reason}" for check in counts[Status.FAIL])
        if self.verdict is Verdict.UNDECIDED:
            return " ".join(f"{check.name.capitalize()}: {check.reason}" for check in counts[Status.NOT_RUN]
                            if check.undecided or check.name in self.policy["required"])
        told = f"{len(counts[Status.PASS])} of {len(self.checks)} checks passed"
        warned = f", {len(counts[Status.WARN])} with remarks" if counts[Status.WARN] else ""
        not_run = f", {len(counts[Status.NOT_RUN])} could not be told" if counts[Status.NOT_RUN] else ""
        return f"{told}{warned}{not_run}."

    def to_json(self) -> dict[str, Any]:
        """Give the gate as JSON values."""
        return {"format": FORMAT, "verdict": str(self.verdict), "sentence": self.sentence,
                **plain(self.evaluated), "tag": self.evaluated.tag, "classes": list(self.classes),
                "checks": [check.to_json() for check in self.checks], "policy": plain(self.policy)}

    def to_bytes(self) -> bytes:
        """Give `gate.json`."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False, default=str).encode() + b"\n"

    @property
    def digest(self) -> str:
        """The SHA-256 of `gate.json`."""
        return f"sha256:{hashlib.sha256(self.to_bytes()).hexdigest()}"

    def to_html(self) -> str:
        """Give the report as one HTML page that needs nothing else."""
        from serinus.monitors.evaluation.page import page

        return page(self)


def judge(evaluated: Evaluated, checks: Sequence[Check], policy: Policy, classes: Sequence[Any] = ()) -> Gate:
    """Sum up: one failed check fails; a required one that could not be told leaves it undecided."""
    if any(check.status is Status.FAIL for check in checks):
        verdict = Verdict.FAIL
    elif any(check.status is Status.NOT_RUN and (check.name in policy.required or check.undecided)
             for check in checks):
        verdict = Verdict.UNDECIDED
    else:
        verdict = Verdict.PASS
    return Gate(evaluated, verdict, tuple(checks), policy.to_json(), tuple(str(name) for name in classes))
