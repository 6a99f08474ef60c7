"""The profile of a reference: what "normal" means, in counts, without a row of the data.

It is made once (`Reference`), never changed, and known by its digest. Everything that watches compares counts of live
rows with `blocks`, the counts of the reference in time order.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.counts import Counts
from serinus.monitors.encoder import Encoder
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import WIDTH, Feature
from serinus.monitors.novelty import Novelty
from serinus.monitors.projections import Projections

if TYPE_CHECKING:
    import pyarrow

__all__ = ["BLOCKS", "FORMAT", "SEASONS", "Profile"]

FORMAT = 1

BLOCKS = 32
"""Time blocks of a reference, at most."""

SEASONS = 48
"""Season cells: hours of working days, then hours of weekends."""

_SEASON_ROWS = 500
"""Rows below which a season cell is filled up with rows of the whole reference."""
_METADATA = b"serinus.profile"


@dataclass(frozen=True, eq=False)
class Profile:
    """What a reference looks like; equal where the digest is.

    Attributes:
        features: what is watched: inputs, outputs, joint ones, in this order.
        blocks: int64 [K, R, 18], counts per time block in time order.
        sums: float64 [R, 2], sums of deviations and of their squares (`Counts`).
        rows: how many rows the reference had.
        columns: the names of all input fields in their order, also of those that are not watched.
        salt: of the hashes of categories.
        vocabularies: of text fields, by name.
        seed: of everything random.
        novelty, projections: what the joint features are made of; None without numbers.
        seasons: int64 [48, R, 18], counts per hour of working days and of weekends, or None.
        span: first and last time of the reference as ISO 8601, or None where it has no time column.
        source: facts about where it comes from: kind, file, reason, …
        notes: sentences that a reader should know, such as which fields are not watched and why.
    """

    features: tuple[Feature, ...]
    blocks: NDArray[np.int64]
    sums: NDArray[np.float64]
    rows: int
    columns: tuple[str, ...] = ()
    salt: bytes = b""
    vocabularies: Mapping[str, bytes] = field(default_factory=dict)
    seed: int = 0
    novelty: Novelty | None = None
    projections: Projections | None = None
    seasons: NDArray[np.int64] | None = None
    span: tuple[str, str] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.features), WIDTH)
        if self.blocks.ndim != 3 or self.blocks.shape[1:] != shape or self.sums.shape != (len(self.features), 2):
            raise InvalidData(
                f"A profile of {shape[0]} features needs blocks [K, {shape[0]}, 18] and sums [{shape[0]}, 2]; "
                f"got {list(self.blocks.shape)} and {list(self.sums.shape)}."
            )
        for array in (self.blocks, self.sums, self.seasons):
            if array is not None:
                array.flags.writeable = False

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The counts of the whole reference, int64 [R, 18]."""
        counts: NDArray[np.int64] = self.blocks.sum(axis=0)
        counts.flags.writeable = False
        return counts

    @cached_property
    def encoder(self) -> Encoder:
        """What encodes rows for these features."""
        return Encoder(
            self.features,
            self.columns,
            salt=self.salt,
            vocabularies=self.vocabularies,
            seed=self.seed,
            novelty=self.novelty,
            projections=self.projections,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def ordered(self) -> NDArray[np.bool_]:
        """Which features are numeric [R]."""
        return np.array([feature.kind == "numeric" for feature in self.features], bool)

    @cached_property
    def monitorable(self) -> NDArray[np.bool_]:
        """Of which features drift can mean anything [R]."""
        return np.array([feature.monitorable for feature in self.features], bool)

    def empty(self) -> Counts:
        """Give counts of no rows, for these features."""
        return Counts(len(self.features))

    def tally(self) -> Counts:
        """Give the reference's own counts and sums."""
        counts = self.empty()
        counts.rows = self.rows
        counts.table += self.counts
        counts.sums += self.sums
        return counts

    def season_shares(self) -> NDArray[np.float64]:
        """Give the expected shares of each season cell [48, R, 18]; a cell with few rows leans on the whole reference.

        Raises InvalidData where no seasons were asked for.
        """
        if self.seasons is None:
            raise InvalidData("This profile has no seasons; make it with a time column and seasons=True.")
        rows = self.seasons.sum(axis=-1, keepdims=True)
        whole = self.counts / np.maximum(self.counts.sum(axis=-1, keepdims=True), 1)
        lacking = np.maximum(_SEASON_ROWS - rows, 0)
        return np.asarray((self.seasons + lacking * whole) / np.maximum(rows, _SEASON_ROWS))

    def merge(self, other: Profile) -> Profile:
        """Give the profile of both references' rows, this one's first.

        Raises InvalidData where the features differ: only counts of the same bins can be added.
        """
        if self._encoding() != other._encoding():
            raise InvalidData(
                "Two profiles with different features cannot be merged; make the second one with the bins of the first."
            )
        seasons = None
        if self.seasons is not None and other.seasons is not None:
            seasons = self.seasons + other.seasons
        spans = [span for span in (self.span, other.span) if span is not None]
        return replace(
            self,
            blocks=_coarser(np.concatenate([self.blocks, other.blocks])),
            sums=self.sums + other.sums,
            rows=self.rows + other.rows,
            seasons=seasons,
            span=(min(first for first, _ in spans), max(last for _, last in spans)) if spans else None,
            source={**self.source, "merged": [self.digest, other.digest]},
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Profile({len(self.features)} features, {self.rows:,} rows, {self.digest[:19]})"

    @cached_property
    def digest(self) -> str:
        """"sha256:…" of the canonical JSON."""
        return f"sha256:{sha256(self.to_bytes()).hexdigest()}"

    def to_bytes(self) -> bytes:
        """Give the canonical JSON: sorted keys, no spaces, UTF-8."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Profile:
        """Read what `to_bytes` gave. Raises InvalidData where it is none."""
        try:
            document = json.loads(data)
        except ValueError as error:
            raise InvalidData(f"A profile is a JSON object; this cannot be parsed ({error}).") from error
        return cls.from_json(document)

    def to_json(self) -> dict[str, Any]:
        """Give the profile as JSON values, marked with its format."""
        return {
            **self._encoding(),
            "format": FORMAT,
            "rows": self.rows,
            "blocks": self.blocks.tolist(),
            "sums": self.sums.tolist(),
            "seasons": None if self.seasons is None else self.seasons.tolist(),
            "span": None if self.span is None else list(self.span),
            "source": dict(self.source),
            "notes": list(self.notes),
        }

    def to_arrow(self) -> pyarrow.Table:
        """Give the profile as an Arrow table, one row per feature; what is not per feature is in its metadata."""
        import pyarrow

        rest = {name: value for name, value in self.to_json().items() if name not in ("blocks", "sums")}
        columns = {name: [getattr(one, name) for one in self.features] for name in ("name", "field", "side", "kind")}
        integers = pyarrow.list_(pyarrow.int64())
        return pyarrow.table(
            {
                **{name: pyarrow.array(values, pyarrow.string()) for name, values in columns.items()},
                "counts": pyarrow.array(self.counts.tolist(), integers),
                "blocks": pyarrow.array(self.blocks.swapaxes(0, 1).tolist(), pyarrow.list_(integers)),
                "sums": pyarrow.array(self.sums.tolist(), pyarrow.list_(pyarrow.float64())),
            },
            metadata={_METADATA: json.dumps(rest, sort_keys=True)},
        )

    @classmethod
    def from_arrow(cls, table: pyarrow.Table) -> Profile:
        """Read what `to_arrow` gave. Raises InvalidData where it is another table."""
        rest = (table.schema.metadata or {}).get(_METADATA)
        if rest is None:
            raise InvalidData("This Arrow table holds no profile: its metadata says nothing of one.")
        blocks = np.array(table["blocks"].to_pylist(), np.int64).reshape(table.num_rows, -1, WIDTH)
        return cls.from_json({**json.loads(rest), "blocks": blocks.swapaxes(0, 1), "sums": table["sums"].to_pylist()})

    def _encoding(self) -> dict[str, Any]:
        """Everything that decides which bin a row is counted in."""
        return {
            "features": [feature.to_json() for feature in self.features],
            "columns": list(self.columns),
            "salt": self.salt.hex(),
            "seed": self.seed,
            "vocabularies": {name: base64.b64encode(words).decode() for name, words in self.vocabularies.items()},
            "novelty": None if self.novelty is None else self.novelty.to_json(),
            "projections": None if self.projections is None else self.projections.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Profile:
        """Read what `to_json` wrote. Raises InvalidData for another format or missing parts."""
        found = document.get("format") if isinstance(document, Mapping) else None
        if found != FORMAT:
            raise InvalidData(
                f"This profile has format {found!r}, and this Serinus reads format {FORMAT}; "
                "read it with the Serinus that wrote it, or make it again from the reference."
            )
        try:
            return cls(**_parsed(document))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidData(f"A part of this profile cannot be read ({error!r}); make it again.") from error


def _parsed(document: Mapping[str, Any]) -> dict[str, Any]:
    features = tuple(map(Feature.from_json, document["features"]))
    novelty, projections, seasons, span = (
        document[name] for name in ("novelty", "projections", "seasons", "span")
    )
    return {
        "features": features,
        "blocks": np.array(document["blocks"], np.int64).reshape(-1, len(features), WIDTH),
        "sums": np.array(document["sums"], np.float64).reshape(len(features), 2),
        "rows": int(document["rows"]),
        "columns": tuple(document["columns"]),
        "salt": bytes.fromhex(document["salt"]),
        "vocabularies": {name: base64.b64decode(words) for name, words in document["vocabularies"].items()},
        "seed": int(document["seed"]),
        "novelty": None if novelty is None else Novelty.from_json(novelty),
        "projections": None if projections is None else Projections.from_json(projections),
        "seasons": None if seasons is None else np.array(seasons, np.int64).reshape(SEASONS, len(features), WIDTH),
        "span": None if span is None else tuple(span),
        "source": document["source"],
        "notes": tuple(document["notes"]),
    }


def _coarser(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add neighbours until there are no more than `BLOCKS` blocks."""
    while len(blocks) > BLOCKS:
        blocks = np.add.reduceat(blocks, np.arange(0, len(blocks), 2), axis=0)
    return blocks
