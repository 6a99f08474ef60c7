"""Whether a version can be watched: it has a reference profile, and a replay of its own rows is quiet."""

from __future__ import annotations

from dataclasses import dataclass

from serinus.monitors.evaluation.check import Check, Status
from serinus.monitors.profile import Profile
from serinus.monitors.self_check import SelfCheck

__all__ = ["Likeness", "ProfileFound", "check_profile"]


@dataclass(frozen=True)
class Likeness:
    """How the evaluation set compares with what was asked lately.

    Attributes:
        rows: of the log that were compared.
        drifted: features that differ.
        sentence: the same in words.
    """

    rows: int
    drifted: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class ProfileFound:
    """What is known of a reference.

    Attributes:
        digest: of the profile.
        rows: of which it was made.
        features: how many are watched.
        run_length: rows between two false alarms, on average at least.
        replayed, alarms: rows of its own that the detector had not seen, and alarms on them.
        unsupported: features for which the run length is not supported.
        too_small: features for which it has too few rows.
        live: the evaluation set against what was asked lately; None where too little was.
    """

    digest: str
    rows: int
    features: int
    run_length: float
    replayed: int
    alarms: int
    unsupported: tuple[str, ...]
    too_small: tuple[str, ...]
    live: Likeness | None


def check_profile(profile: Profile | None, check: SelfCheck | None, *, attached: bool,
                  live: Likeness | None = None) -> Check:
    """Say what a version's reference is worth.

    Args:
        profile: of the reference; None where there is none.
        check: its self-check.
        attached: whether the version has it already, and not only this evaluation.
        live: the evaluation set against what was asked lately.
    """
    unlike = [f"The evaluation set is unlike the last {live.rows:,} logged rows: {live.sentence}"] \
        if live is not None and live.drifted else []
    if profile is None or check is None:
        return Check("profile", Status.NOT_RUN, " ".join(["The version has no reference: register it with --reference, "
                                                          "or give one here.", *unlike]), live)
    found = ProfileFound(profile.digest, profile.rows, len(profile.features), check.run_length, check.rows,
                         check.alarms, check.unsupported, check.too_small, live)
    remarks = [*unlike]
    if not attached:
        remarks.append("The version itself has no reference; this one was made for the evaluation.")
    for names, words in ((check.unsupported, "cannot be watched at the stated run length"),
                         (check.too_small, "cannot be watched: the reference has too few rows")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            remarks.append(f"{', '.join(names[:3])}{more} {words}.")
    said = f"{profile.rows:,} rows, {len(profile.features)} features. {check.text}"
    return Check("profile", Status.WARN if remarks else Status.PASS, " ".join([said, *remarks]), found)
