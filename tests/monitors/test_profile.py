"""A profile is a value: it travels, it has a digest, it is not edited, and equal bins can be added."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from serinus.monitors import Profile, Reference
from serinus.monitors.errors import InvalidData
from serinus.monitors.profile import BLOCKS
from tests.monitors.references import frame, profile


@pytest.fixture(scope="module")
def whole() -> Profile:
    """A profile with every kind of feature."""
    return profile()


def test_a_profile_comes_back(whole: Profile) -> None:
    """From bytes and from Arrow, with the same digest, and it encodes the same."""
    for other in (Profile.from_bytes(whole.to_bytes()), Profile.from_arrow(whole.to_arrow())):
        assert other == whole and other.digest == whole.digest and other.features == whole.features
        assert np.array_equal(other.counts, whole.counts) and other.novelty is not None
    assert whole.to_arrow()["name"].to_pylist() == list(whole.names)


def test_the_digest_says_what_it_was_made_of(whole: Profile) -> None:
    """The same rows and options give the same; another row, seed or salt another."""
    assert profile().digest == whole.digest
    data = frame()
    made = {whole.digest}
    made.add(Reference.from_frame(data, time="at", outputs=["answer"], seed=1).digest)
    made.add(Reference.from_frame(data, time="at", outputs=["answer"], salt=b"ours").digest)
    data.loc[3, "age"] += 1.0
    made.add(Reference.from_frame(data, time="at", outputs=["answer"]).digest)
    assert len(made) == 4


def test_a_profile_is_not_edited(whole: Profile) -> None:
    """Neither its fields nor its counts."""
    with pytest.raises(AttributeError):
        whole.rows = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        whole.blocks[0, 0, 0] = 3
    with pytest.raises(ValueError, match="read-only"):
        whole.counts[0, 0] = 3


def test_no_row_is_in_it(whole: Profile) -> None:
    """Neither a text nor a word that few rows have."""
    data = whole.to_bytes().decode()
    assert not any(comment in data for comment in frame()["comment"])
    assert "alpha" not in data and '"red"' in data


def test_profiles_of_the_same_bins_add(whole: Profile) -> None:
    """Counts, sums, rows; blocks stay in order and few; the times span both."""
    twice = whole.merge(whole)
    assert np.array_equal(twice.counts, 2 * whole.counts) and twice.tally() == whole.tally() + whole.tally()
    assert twice.rows == 4000 and twice.span == whole.span and twice.digest != whole.digest
    assert len(twice.merge(twice).blocks) <= BLOCKS and twice.merge(twice).blocks.sum() == 4 * whole.blocks.sum()
    assert np.array_equal(twice.blocks[: len(whole.blocks)], whole.blocks)


def test_profiles_of_other_bins_do_not_add(whole: Profile) -> None:
    """Also where only the seed of the projections differs."""
    with pytest.raises(InvalidData, match="different features"):
        whole.merge(profile(seed=1))
    with pytest.raises(InvalidData, match="different features"):
        whole.merge(replace(whole, seed=1))


def test_a_season_with_few_rows_leans_on_the_whole() -> None:
    """Shares add up to 1; a full cell has its own, an empty one those of all rows."""
    whole = profile()
    with pytest.raises(InvalidData, match="no seasons"):
        whole.season_shares()
    seasons = np.zeros((48, *whole.counts.shape), np.int64)
    seasons[0, :, 3] = 1000
    seasons[1, :, 3] = 250
    found = replace(whole, seasons=seasons).season_shares()
    pooled = whole.counts / whole.counts.sum(axis=1, keepdims=True)
    assert found.sum(axis=2) == pytest.approx(1.0)
    assert (found[0, :, 3] == 1).all() and found[2] == pytest.approx(pooled)
    assert found[1, :, 3] == pytest.approx(0.5 + 0.5 * pooled[:, 3])


def test_another_format_is_refused(whole: Profile) -> None:
    """The message says which one it has."""
    document = {**whole.to_json(), "format": 2}
    with pytest.raises(InvalidData, match="has format 2"):
        Profile.from_json(document)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format":1}', b"\xff"])
def test_what_is_no_profile_is_refused(data: bytes) -> None:
    """Truncated, of another shape, no text at all."""
    with pytest.raises(InvalidData):
        Profile.from_bytes(data)


@pytest.mark.parametrize("part", ["blocks", "sums", "features", "novelty", "salt"])
def test_a_broken_part_is_refused(whole: Profile, part: str) -> None:
    """Nothing else than InvalidData reaches the caller."""
    document = json.loads(whole.to_bytes())
    document[part] = {"shape": [1]} if part == "novelty" else "zz"
    with pytest.raises(InvalidData):
        Profile.from_json(document)


def test_counts_must_fit_the_features(whole: Profile) -> None:
    """Both shapes are told."""
    with pytest.raises(InvalidData, match="needs blocks"):
        replace(whole, blocks=np.zeros((1, 2, 18), np.int64))


def test_the_table_of_another_thing_is_no_profile(whole: Profile) -> None:
    """Its metadata is what makes it one."""
    with pytest.raises(InvalidData, match="holds no profile"):
        Profile.from_arrow(whole.to_arrow().replace_schema_metadata(None))
