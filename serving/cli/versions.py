"""How a model version looks on a terminal and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from serinus.models.errors import InvalidManifest, ModelError
from serinus.serving.cli.expectations import summary
from serinus.serving.cli.output import table
from serinus.serving.errors import SerinusError
from serinus.serving.home import Home
from serinus.serving.veto import read_vetoes

if TYPE_CHECKING:
    from serinus.models.registry import Registry
    from serinus.models.signature import Field
    from serinus.models.version import ModelVersion
    from serinus.monitors.security import Doubt
    from serinus.monitors.validation import Expectations

__all__ = ["Roles", "aliases_of", "description", "document", "doubtful", "fields", "reference_notes", "size",
           "warn_of_skew", "what_next"]


_NOTES = 5


class Roles:
    """What each version does now, as the workers of this host know it."""

    def __init__(self, home: Home) -> None:
        from serinus.serving.cli.local import known_records

        self._records = known_records(home)
        self._vetoes = read_vetoes(home.vetoes).by_model

    def of(self, version: ModelVersion) -> str | None:
        """Stable, candidate, previous, or None."""
        record, veto = self._records.get(version.name), self._vetoes.get(version.name)
        if record is None:
            return None
        if version.version == record.stable or (veto is not None and version.version == veto.stable):
            return "stable"
        if version.version == record.candidate:
            return "candidate"
        return "previous" if version.version == record.previous_at(time.time()) else None


def aliases_of(registry: Registry, version: ModelVersion) -> list[str]:
    """The aliases that stand for a version; a damaged file of them is told, and hides no version."""
    try:
        known = registry.aliases(version.name)
    except InvalidManifest as error:
        click.echo(f"serinus: {error}", err=True)
        return []
    return [alias for alias, number in known.items() if number == version.version]


def document(version: ModelVersion, registry: Registry, role: str | None) -> dict[str, Any]:
    """A version as JSON."""
    from serinus.models.libraries import relevant, skew
    from serinus.serving.gates import last_verdict

    return {"name": version.name, "version": version.version, "tag": version.tag, "role": role,
            "aliases": aliases_of(registry, version), "adapter": version.adapter, "digest": version.digest,
            "size": version.size, "created": version.created, "path": str(version.path), "artifact": version.artifact,
            "signature": version.signature.to_json(), "card": version.card.to_json(),
            "lineage": version.lineage.to_json(), "libraries": dict(version.libraries),
            "skew": skew(relevant(version.adapter, version.libraries)),
            "expectations": summary(_expectations(version, registry)), "gate": last_verdict(registry, version),
            "attachments": registry.attachments(version)}


def description(version: ModelVersion, registry: Registry, role: str | None, home: Home) -> Iterator[str]:
    """A version as lines for a person."""
    from serinus.models.libraries import relevant, skew
    from serinus.serving.gates import FOLDER, last_verdict

    about = [word for word in (role, *aliases_of(registry, version)) if word]
    yield f"{version.tag}  ({', '.join(about)})" if about else version.tag
    facts = {"adapter": version.adapter, "digest": version.digest, "created": version.created,
             "size": size(version.size), "path": str(version.path / version.artifact), "trust": _trust(version, home),
             "skew": "; ".join(skew(relevant(version.adapter, version.libraries)))}
    yield from _lines(facts)
    for title, part in (("card", version.card.to_json()), ("lineage", _lineage(version))):
        if part:
            yield f"  {title}"
            yield from (f"  {line}" for line in _lines(part))
    for side, some in (("inputs", version.signature.inputs), ("outputs", version.signature.outputs)):
        yield f"  {side}"
        yield from (f"    {line}" for line in table(("NAME", "DATATYPE", "SHAPE", "REMARKS"), list(map(_row, some))))
    if (expected := summary(_expectations(version, registry))):
        yield f"  expectations  {expected}"
    if (gate := last_verdict(registry, version)) is not None:
        yield (f"  gate  {gate['verdict']} on {gate['data']} ({gate['rows']:,} rows, {gate['digest']}) at {gate['at']}"
               f", approver {gate['approver'] or 'none'}")
    attachments = [name for name in registry.attachments(version) if not name.startswith(f"{FOLDER}/")]
    if attachments:
        yield f"  attachments  {', '.join(attachments)}"


def _expectations(version: ModelVersion, registry: Registry) -> Expectations:
    """What is expected; a damaged file of it is told, and hides no version."""
    from serinus.monitors.validation import Expectations
    from serinus.serving.expectations import expectations_of

    try:
        return expectations_of(version, registry)
    except (SerinusError, ModelError) as error:
        click.echo(f"serinus: {error}", err=True)
        return Expectations()


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    said = {name.replace("_", " "): _said(value) for name, value in facts.items() if value not in ("", None)}
    room = max(map(len, said))
    yield from (f"  {name.ljust(room)}  {value}" for name, value in said.items())


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.6g}" for name, number in value.items())
    return ", ".join(value) if isinstance(value, list) else " ".join(str(value).split())


def _lineage(version: ModelVersion) -> dict[str, Any]:
    """Where it comes from, the commit and the data in one phrase each."""
    facts = version.lineage.to_json()
    rows, dirty = facts.pop("rows", None), facts.pop("dirty", False)
    if "data" in facts and rows is not None:
        facts["data"] += f" ({rows} rows)"
    if "commit" in facts and dirty:
        facts["commit"] += ", with changes that were not committed"
    return facts


def _trust(version: ModelVersion, home: Home) -> str:
    from serinus.models.adapters import adapter_named
    from serinus.models.trust import Trust

    if version.digest in Trust(home.path):
        return "its digest is trusted here"
    try:
        runs_code = adapter_named(version.adapter).runs_code(version.path / version.artifact)
    except (ModelError, OSError):
        return ""
    return f"it runs code and is not trusted here: serinus models trust {version.digest}" if runs_code else "not needed"


def size(count: int) -> str:
    """Bytes for a person."""
    for unit, word in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {word}"
    return f"{count} B"


def warn_of_skew(version: ModelVersion) -> None:
    """One line on standard error where the libraries differ from those that a version was made with."""
    from serinus.models.libraries import relevant, skew

    phrases = skew(relevant(version.adapter, version.libraries))
    if phrases:
        click.echo(f"serinus: {version.tag} was made with other libraries ({'; '.join(phrases)}); its answers may "
                   "differ from those of training.", err=True)


def reference_notes(version: ModelVersion, registry: Registry, *, given: bool, known: bool) -> Iterator[str]:
    """What live rows of a version just registered will be compared with."""
    from serinus.monitors.profile import Profile
    from serinus.serving.references import attached, doubts_about, profile_bytes_of, self_check_of

    digests = attached(registry, version)
    if not digests:
        yield ("No reference: the first live rows will be learnt as normal, whatever they are. Better give rows of the "
               "training: --reference FILE")
        return
    profile = Profile.from_bytes(profile_bytes_of(registry, version, digests[0]))
    yield (f"Reference {digests[0][7:19]}: {profile.rows:,} rows, {len(profile.features)} features are watched.")
    if "left_out" in profile.source:
        yield f"  left out: {profile.source['left_out']}."
    check = self_check_of(registry, version, digests[0])
    if check is not None:
        yield f"  {check.text}"
    yield from (f"  {line}" for line in doubtful(doubts_about(registry, version, digests[0])))
    yield from (f"  {note}" for note in profile.notes[:_NOTES])
    if len(profile.notes) > _NOTES:
        yield f"  and {len(profile.notes) - _NOTES} more remarks"
    if given and known:
        yield (f"  It came with the version. To compare with other rows: serinus monitor reference {version.tag} --set "
               "FILE")


def doubtful(doubts: Sequence[Doubt]) -> Iterator[str]:
    """What speaks against a reference, in a few lines."""
    yield from (f"Look before you trust it: {doubt.sentence}" for doubt in doubts[:_NOTES])
    if len(doubts) > _NOTES:
        yield f"and {len(doubts) - _NOTES} more doubts"


def what_next(version: ModelVersion, home: Home) -> str:
    """The command that makes use of a version just registered."""
    from serinus.models.registry import Registry
    from serinus.serving.cli.local import known_records

    record = known_records(home).get(version.name)
    stable = record.stable if record is not None else Registry(home.path).versions(version.name)[0]
    if stable == version.version:
        return f"Serve it: serinus serve {version.name}"
    return f"Version {stable} stays stable. Try this one on part of the traffic: serinus rollout start {version.tag}"


def fields(some: tuple[Field, ...]) -> str:
    """How many fields, in words."""
    return f"{len(some)} {'field' if len(some) == 1 else 'fields'}"


def _row(field: Field) -> tuple[str, str, str, str]:
    remarks = ["optional"] if field.optional else []
    if field.frame_dtype:
        remarks.append(field.frame_dtype)
    if field.labels:
        remarks.append("one of " + ", ".join(map(str, field.labels[:8])) + (", …" if len(field.labels) > 8 else ""))
    return field.name, field.datatype, str(list(field.shape)), "; ".join(remarks)
