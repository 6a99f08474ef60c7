"""The quality of versions that nobody labels: clusterers and outlier detectors, held against their own reference."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serinus.models.errors import ModelError
from serinus.models.registry import Registry
from serinus.models.signature import Signature
from serinus.models.version import ModelVersion
from serinus.monitors.errors import InvalidData
from serinus.monitors.label_free import AlarmRate, Centres, Verdict, centres_of
from serinus.monitors.metrics import Sums
from serinus.monitors.packing import pack, unpack
from serinus.monitors.profile import Profile
from serinus.monitors.referral import confidence_output
from serinus.monitors.sample import Rows as ReferenceRows
from serinus.serving.performance.promise import numbers_of
from serinus.serving.performance.sample import Rows

__all__ = ["Quality", "attachment_of", "make_quality", "quality_of"]

FORMAT = 1
_SUFFIX = ".quality.json"
_ALARMS = (-1, 1)
_MOST_CLUSTERS = 200

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Quality:
    """What a label-free version's answers were like on its reference. A value, made by `make_quality`.

    Attributes:
        reference: the digest of the reference's profile.
        output: where the answers stand.
        centres, sums: of a clusterer; None of an outlier detector.
        alarms: of an outlier detector; None of a clusterer.
    """

    reference: str
    output: str
    centres: Centres | None = None
    sums: Sums | None = None
    alarms: AlarmRate | None = None

    def compare(self, rows: Rows) -> list[Verdict]:
        """Hold live rows against the reference."""
        if self.alarms is not None:
            return [AlarmRate.of(rows.answers).compare(self.alarms)]
        assert self.centres is not None and self.sums is not None
        return self.centres.compare(self.centres.sums(rows.numbers, rows.answers), self.sums)

    def to_bytes(self) -> bytes:
        """As canonical JSON."""
        centres = None if self.centres is None else {
            "labels": list(self.centres.labels), "centres": pack(self.centres.centres),
            "scale": pack(self.centres.scale)}
        alarms = None if self.alarms is None else [self.alarms.alarms, self.alarms.rows]
        return orjson.dumps({"format": FORMAT, "reference": self.reference, "output": self.output, "centres": centres,
                             "sums": None if self.sums is None else self.sums.to_json(), "alarms": alarms},
                            option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Quality:
        """Read what `to_bytes` wrote. Raises InvalidData where another release did."""
        found = orjson.loads(data)
        if found.get("format") != FORMAT:
            raise InvalidData("The quality of a reference is of another format; register the version again.")
        centres = found["centres"]
        return cls(found["reference"], found["output"],
                   None if centres is None else Centres(tuple(centres["labels"]), unpack(centres["centres"]),
                                                        unpack(centres["scale"])),
                   None if found["sums"] is None else Sums.from_json(found["sums"]),
                   None if found["alarms"] is None else AlarmRate(*found["alarms"]))


def make_quality(signature: Signature, profile: Profile, rows: ReferenceRows,
                 personal: Collection[str] = ()) -> Quality | None:
    """What a reference's answers are like; None where the model is neither a clusterer nor an outlier detector."""
    whole = [output for output in signature.outputs if output.dtype.kind in "iu" and len(output.shape) == 1]
    if len(signature.outputs) != 1 or not whole or confidence_output(signature) is not None:
        return None
    (output,) = whole
    said = np.asarray(rows.outputs[output.name])
    found = np.unique(said)
    if tuple(output.labels or ()) == _ALARMS:
        return Quality(profile.digest, output.name, alarms=AlarmRate.of(said))
    if output.labels or len(found) > _MOST_CLUSTERS:
        return None
    numbers = numbers_of(profile, rows.inputs, personal)
    try:
        centres = centres_of(numbers, said)
    except InvalidData:  # one cluster alone
        return None
    return Quality(profile.digest, output.name, centres, centres.sums(numbers, said))


def attachment_of(digest: str) -> str:
    """Where it lies, beside the reference's profile."""
    return f"references/{digest.removeprefix('sha256:')}{_SUFFIX}"


def quality_of(registry: Registry, version: ModelVersion) -> Quality | None:
    """What a version's answers were like on its first reference; None where that is not known."""
    for name in registry.attachments(version):
        if name.endswith(_SUFFIX):
            try:
                return Quality.from_bytes(registry.attachment(version, name))
            except (InvalidData, ModelError):
                continue
    return None
