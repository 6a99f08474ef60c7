"""A profile counts every row in bins that new rows of the same kind fill alike; odd references have one, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus.models.signature import Field, Signature
from serinus.monitors import Profile, Reference, sample
from serinus.monitors.errors import InvalidData
from serinus.monitors.features import MISSING, UNSEEN, Feature
from serinus.monitors.reference import count_frame
from serinus.monitors.sample import Rows
from tests.monitors.references import frame, profile


def feature(whole: Profile, name: str) -> Feature:
    """One feature by name."""
    return whole.features[whole.names.index(name)]


def counts(whole: Profile, name: str) -> list[int]:
    """The counts of one feature."""
    return whole.counts[whole.names.index(name)].tolist()


def test_every_row_is_counted_once_per_feature() -> None:
    """What is learnt from one half of the rows is counted on the other only."""
    whole, data = profile(), frame()
    totals = dict(zip(whole.names, whole.counts.sum(axis=1).tolist(), strict=True))
    assert totals.pop("novelty") == totals.pop("comment.unknown_words") == 1000 and set(totals.values()) == {2000}
    assert counts(whole, "age")[MISSING] == data["age"].isna().sum()
    assert counts(whole, "amount")[0] == (data["amount"] == 0).sum()
    assert counts(whole, "children")[:4] == data["children"].value_counts().sort_index().tolist()
    assert counts(whole, "colour")[:3] == data["colour"].value_counts().tolist()
    assert not whole.counts[:, UNSEEN].any()


def test_novelty_is_counted_as_new_rows_will_be() -> None:
    """Also of a small reference with many numbers: new rows do not look more novel than its counts say."""
    random = np.random.default_rng(0)
    whole = Reference.from_arrays({"x": random.normal(size=(400, 30))})
    new = count_frame(whole, pd.DataFrame({"x": list(random.normal(size=(4000, 30)))}))
    place = whole.names.index("novelty")
    old, fresh = (table[place, :16] / table[place].sum() for table in (whole.counts, new.table))
    assert abs(np.cumsum(fresh) - np.cumsum(old)).max() < 1.95 * np.sqrt(1 / 200 + 1 / 4000)  # Kolmogorov, 0.1 %


def test_unknown_words_are_counted_as_new_rows_will_be() -> None:
    """A vocabulary of the very rows that are counted would know their words better than those of new rows."""
    random = np.random.default_rng(1)
    words = [f"w{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(3000)]
    share = 1 / np.arange(1, 3001)

    def texts(rows: int) -> pd.DataFrame:
        return pd.DataFrame({"t": list(map(" ".join, random.choice(words, (rows, 20), p=share / share.sum())))})

    whole = Reference.from_frame(texts(4000), joint=False)
    place = whole.names.index("t.unknown_words")
    fresh = count_frame(whole, texts(4000)).table
    old, new = (table[place, :16] / table[place].sum() for table in (whole.counts, fresh))
    assert abs(np.cumsum(new) - np.cumsum(old)).max() < 1.95 * np.sqrt(1 / 2000 + 1 / 4000)  # Kolmogorov, 0.1 %


def test_a_reference_larger_than_the_sample_is_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bins come from a sample; counts, ranges and categories from every row."""
    monkeypatch.setattr(sample, "_ROWS", 1000)
    random = np.random.default_rng(0)
    values, letters = random.normal(size=20_000), random.choice(list("abc"), 20_000)
    parts = [Rows({"x": values[i : i + 900], "c": letters[i : i + 900]}, {}) for i in range(0, 20_000, 900)]
    whole = Reference.from_chunks(lambda: parts)
    x = feature(whole, "x")
    expected = np.bincount(np.searchsorted(x.edges, values, "right"))
    assert counts(whole, "x")[:16] == expected.tolist() and expected == pytest.approx(np.full(16, 1250), rel=0.3)
    assert (x.low, x.high) == pytest.approx((values.min(), values.max()))
    assert sorted(counts(whole, "c")[:3]) == sorted(np.unique(letters, return_counts=True)[1].tolist())
    assert whole.counts[whole.names.index("novelty")].sum() == 19_500


def test_blocks_are_in_time_order_whatever_the_rows_are() -> None:
    """A shuffled frame with a time column has the blocks of the sorted one."""
    data = frame()
    mixed = data.sample(frac=1.0, random_state=0)
    sorted_, shuffled = (Reference.from_frame(each, time="at", joint=False) for each in (data, mixed))
    assert np.array_equal(sorted_.blocks, shuffled.blocks) and sorted_.blocks.sum(axis=2)[:, 0].tolist() == [200] * 10
    assert not np.array_equal(Reference.from_frame(mixed.drop(columns="at"), joint=False).blocks, sorted_.blocks)


def test_the_signature_decides_what_is_watched() -> None:
    """Its labels are public and never unseen; other columns are left alone; what is not there is noted."""
    fields = (Field("children", "INT64", (-1,), labels=(0, 1, 2, 3, 4)), Field("age", "FP64", (-1,)),
              Field("height", "FP64", (-1,)))  # fmt: skip
    whole = Reference.from_frame(frame(400), signature=Signature(fields, ()), joint=False)
    assert whole.names == ("age", "children")
    assert whole.columns == ("children", "age", "height")
    assert any("'height' of the signature is not in the reference" in note for note in whole.notes)
    codes = whole.encoder.encode({"children": np.array([4, 9]), "age": np.array([40.0, 40.0])})
    column = codes[:, whole.names.index("children")].tolist()
    assert column[0] in (14, 15) and column[1] == UNSEEN


def test_one_of_two_scores_is_enough() -> None:
    """They add up to 1; scores of three classes are all watched, and two numbers of their own both."""
    random = np.random.default_rng(0)
    score, inputs = random.random(300), {"x": random.normal(size=300)}
    outputs = {"two": np.stack([1 - score, score], 1), "three": random.random((300, 3)), "own": random.random((300, 2))}
    names = Reference.from_arrays(inputs, outputs, joint=False).names
    assert names == ("x", "two[1]", "three[0]", "three[1]", "three[2]", "own[0]", "own[1]")


def test_rare_and_personal_categories_have_no_name() -> None:
    """Fewer than 10 rows are nobody's business; tagged columns never are; hashes are told instead."""
    data = pd.DataFrame({"city": ["Rome"] * 300 + ["Oslo"] * 9, "name": ["Ann"] * 200 + ["Bob"] * 109})
    whole = Reference.from_frame(data, personal={"name": "hash"}, salt=b"ours", joint=False)
    assert feature(whole, "city").categories[0] == "Rome" and str(feature(whole, "city").categories[1]).startswith("#")
    assert all(str(name).startswith("#") for name in feature(whole, "name").categories)
    assert b"Ann" not in whole.to_bytes() and b"Oslo" not in whole.to_bytes()
    codes = count_frame(whole, pd.DataFrame({"city": ["Oslo", "Bern"], "name": ["Bob", "Cid"]})).table
    assert codes[0, 1] == codes[1, 1] == 1 and codes[0, UNSEEN] == codes[1, UNSEEN] == 1


def test_dropped_and_coarsened_fields_tell_nothing_exact() -> None:
    """One is not profiled, the other's edges have two digits; the counts are those of the coarse edges."""
    data = frame(2000)
    whole = Reference.from_frame(data, time="at", personal={"age": "coarsen", "amount": "drop"}, joint=False)
    age = feature(whole, "age")
    assert "amount" not in whole.names and "amount" in whole.columns
    numbers = (*age.edges, age.low, age.high, age.centre, age.scale)
    assert all(float(f"{number:.2g}") == number for number in numbers)
    expected = np.bincount(np.searchsorted(age.edges, data["age"].dropna(), "right"), minlength=16)[:16]
    assert counts(whole, "age")[:16] == expected.tolist()
    with pytest.raises(InvalidData, match="wanted drop, hash or coarsen, got 'hide'"):
        Reference.from_frame(data, personal={"age": "hide"})


def test_too_many_categories_are_said_by_name() -> None:
    """Their domain is off, and nothing of them is unseen."""
    values = [f"v{number}" for number in range(10_100)] * 2 + ["often"] * 20_000
    whole = Reference.from_frame(pd.DataFrame({"code": values}), joint=False)
    assert any("'code' has more than 10,000 categories" in note for note in whole.notes)
    assert feature(whole, "code").domain is None and feature(whole, "code").categories[0] == "often"
    assert not count_frame(whole, pd.DataFrame({"code": ["made up"] * 5})).table[0, UNSEEN]


def test_what_runs_with_time_is_not_monitorable() -> None:
    """A counter and a date of entry; novelty does not look at them."""
    data = frame(1000).assign(number=np.arange(1000), entered=frame(1000)["at"])
    whole = Reference.from_frame(data, time="at", outputs=["answer"])
    assert [one.name for one in whole.features if not one.monitorable] == ["number", "entered"]
    assert "runs with time" in feature(whole, "number").reason and feature(whole, "number").reason in whole.notes
    later = data.tail(5).assign(number=10**6, entered=data["entered"].tail(5) + pd.Timedelta(days=4000))
    arrays = {name: later[name].to_numpy() for name in whole.columns}
    assert whole.novelty is not None
    expected = whole.novelty.scores(whole.encoder.numbers(arrays), whole.encoder.categories(arrays))
    usual = {**arrays, "number": np.arange(5), "entered": data["entered"].tail(5).to_numpy()}
    assert np.array_equal(whole.novelty.scores(whole.encoder.numbers(usual), whole.encoder.categories(usual)), expected)


def test_seasons_are_hours_of_working_days_and_weekends() -> None:
    """4 March 2024 was a Monday, the 9th a Saturday; numbers as times have no hours."""
    at = pd.to_datetime(["2024-03-04 05:10", "2024-03-05 05:50", "2024-03-09 05:00"] * 100)
    data = pd.DataFrame({"x": np.arange(300) % 7, "at": at})
    whole = Reference.from_frame(data, time="at", seasons=True, joint=False)
    assert whole.seasons is not None and whole.seasons.sum(axis=(1, 2))[[5, 29]].tolist() == [200, 100]
    assert np.array_equal(whole.seasons.sum(axis=0), whole.counts)
    with pytest.raises(InvalidData, match="Seasons need the time"):
        Reference.from_frame(data.assign(at=2015), time="at", seasons=True)


@pytest.mark.parametrize(
    "data",
    [
        {"x": [3.0] * 300},
        {"x": [np.nan] * 300, "y": [None] * 300},
        {"x": [np.inf, -np.inf] * 150},
        {"x": [1e300, -1e300, 5e-324] * 100},
        {"x": [1e300] + [0.1 * number for number in range(299)]},
        {"x": [2**60 + number for number in range(300)]},
        {"x": [1, "a", None, 2.5, b"b", (1,)] * 50},
        {"x": [[1], {"a": 1}, None] * 100},
        {"x": [f"new {number}" * 50 for number in range(300)]},
        {"x": [""] * 300},
        {"x": [True] * 300},
        {"x": [1.0, 2.0, 3.0, 4.0, 5.0]},
        {"x": [1.0]},
    ],
    ids=["constant", "all missing", "infinite", "huge", "one huge", "long integers", "mixed", "no categories", "texts",
         "empty texts", "one boolean", "five rows", "one row"],
)  # fmt: skip
def test_bad_references_have_a_profile_too(data: dict[str, Any]) -> None:
    """It travels, counts its own rows, and counts anything else without harm."""
    whole = Reference.from_frame(pd.DataFrame({**data, "z": np.arange(len(data["x"])) % 3}))
    assert Profile.from_bytes(whole.to_bytes()) == whole and whole.rows == len(data["x"])
    assert np.isfinite(whole.sums).all() and all(np.isfinite(one.scale) and one.scale > 0 for one in whole.features)
    odd = pd.DataFrame({"x": [1e300, "zz", None, np.inf, 0], "z": [np.nan, 1, 2, np.inf, -1e300]})
    found = count_frame(whole, odd)
    assert found.rows == 5 and np.isfinite(found.sums).all() and found.table.sum() == 5 * len(whole.features)


def test_small_and_empty_references_say_so() -> None:
    """Five rows work with a note; an all-missing feature is named; no rows are refused."""
    whole = Reference.from_frame(pd.DataFrame({"x": range(5), "y": [None] * 5}))
    assert "too small: 5 rows" in whole.notes[0]
    assert [one.name for one in whole.features if not one.monitorable] == ["y"]
    with pytest.raises(InvalidData, match="has no rows"):
        Reference.from_frame(pd.DataFrame({"x": []}))
    with pytest.raises(InvalidData, match="has no rows"):
        Reference.from_arrays({})


def test_many_features_fit() -> None:
    """2,000 columns and fewer rows; every one has its bins."""
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 2000)))
    whole = Reference.from_frame(data, joint=False)
    assert len(whole.features) == 2000 and (whole.counts.sum(axis=1) == 300).all()
    assert all(len(one.edges) == 15 for one in whole.features)


def test_images_are_described() -> None:
    """Without keeping one; a darker one is seen in its brightness."""
    random = np.random.default_rng(0)
    whole = Reference.from_arrays({"image": random.random((300, 3, 24, 24)).astype(np.float32)}, joint=False)
    assert whole.names == (*(f"image.{view}" for view in ("brightness", "contrast", "blur")),
                           *(f"image.channel[{i}]" for i in range(3)))  # fmt: skip
    dark = whole.encoder.encode({"image": random.random((4, 3, 24, 24)) / 4})
    assert (dark[:, 0] == UNSEEN).all()
