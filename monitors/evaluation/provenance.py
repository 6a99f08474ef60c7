"""Where a judged version and its evaluation come from, so that anybody can say later what was judged by whom."""

from __future__ import annotations

from dataclasses import dataclass

from serinus.monitors.evaluation.check import Check, Status

__all__ = ["Provenance", "check_provenance"]


@dataclass(frozen=True)
class Provenance:
    """Digests and names; empty is what nobody knows.

    Attributes:
        model: "sha256:…" of the artifact.
        data: of the evaluation set's rows.
        training: of the training data, as the version's lineage has it.
        commit: of the code that registered the version.
        dirty: whether that code had changes that were not committed.
        libraries: of the names and numbers of the libraries it was made with.
        license: under which terms the version may be used.
        approver: who answers for letting it pass.
        policy: of what was asked for.
        previous: of the gate before this one for the same model; so gates are a chain.
    """

    model: str
    data: str
    training: str
    commit: str
    dirty: bool
    libraries: str
    license: str
    approver: str
    policy: str
    previous: str


def check_provenance(found: Provenance) -> Check:
    """Say what is not known."""
    if found.training and found.training == found.data:
        return Check("provenance", Status.FAIL, "The evaluation set is what the version was trained on.", found)
    absent = [word for word, value in (("the training data", found.training), ("the commit", found.commit),
                                       ("a licence", found.license), ("an approver", found.approver)) if not value]
    remarks = [f"Nobody knows {_listed(absent)}."] if absent else []
    if found.dirty:
        remarks.append("The code had changes that were not committed.")
    if remarks:
        return Check("provenance", Status.WARN, " ".join(remarks), found)
    return Check("provenance", Status.PASS, "Model, data, code, libraries, licence, policy and approver are known.",
                 found)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
