"""Descriptions are what they say, row by row, whatever the other rows are."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serinus.monitors.descriptors import (
    IMAGE,
    PROJECTIONS,
    TEXT,
    VOCABULARY_BYTES,
    as_images,
    categories,
    extractor,
    seconds,
    words,
)
from serinus.monitors.features import Feature

RANDOM = np.random.default_rng(0)


def described(views: tuple[str, ...], array: NDArray[Any], vocabulary: bytes = b"") -> NDArray[np.float64]:
    """The values of some views of a field."""
    indices = range(len(views)) if views[0] in ("projection", "element", "channel") else [0] * len(views)
    features = [Feature(view, "f", "input", "numeric", view, i) for view, i in zip(views, indices, strict=True)]
    return extractor(features, vocabulary, 0)({"f": array}, len(array))


def objects(*values: Any) -> NDArray[Any]:
    """An object array of values as they are."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def script(text: Any) -> Any:
    """The script of one text."""
    found = categories(Feature("s", "f", "input", "categorical", "script"))({"f": objects(text)}, 1)
    return None if found is None else found[0]


def test_a_text_is_its_length_words_and_shares() -> None:
    """By hand."""
    found = described(TEXT[:4], objects("ab 12", "", "x", "  two words ", "é!"))
    expected = [[5, 2, 3 / 5, 2 / 5], [0, 0, 0, 0], [1, 1, 0, 0], [12, 2, 4 / 12, 0], [2, 1, 1 / 2, 0]]
    assert found == pytest.approx(np.array(expected))


@settings(max_examples=50)
@given(st.lists(st.text(max_size=20), max_size=6))
def test_texts_are_described_one_by_one(texts: list[str]) -> None:
    """Python's own functions say the same of each text; surrogates and astral planes do no harm."""
    found = described(("length", "words", "digits"), objects(*texts))
    plain = [sum(c.isdigit() for c in text if ord(c) < 1 << 16) / max(len(text), 1) for text in texts]
    spaced = [len("".join(c if ord(c) < 1 << 16 else "x" for c in text).split()) for text in texts]
    assert found[:, 0].tolist() == [len(text) for text in texts]
    assert found[:, 1].tolist() == spaced and found[:, 2] == pytest.approx(plain)


def test_unknown_words_are_those_that_the_vocabulary_lacks() -> None:
    """Case and digits do not matter."""
    known = np.zeros(VOCABULARY_BYTES * 8, bool)
    known[words("the cat")] = True
    vocabulary = np.packbits(known, bitorder="little").tobytes()
    found = described(("unknown_words",), objects("The CAT", "the dog 17", "", "dog", b"cat"), vocabulary)
    assert found[:, 0].tolist() == [0, 0.5, 0, 1, 0]


@pytest.mark.parametrize(
    ("text", "name"),
    [("hello", "latin"), ("Ελλάδα", "greek"), ("Привет, X", "cyrillic"), ("שלום", "hebrew"), ("مرحبا", "arabic"),
     ("नमस्ते", "indic"), ("สวัสดี", "thai"), ("ひらがな", "kana"), ("漢字", "han"), ("한국어", "hangul"), ("𠀀", "han"),
     ("123 !?", "none"), ("", "none"), (b"bytes", "latin"), (None, None), (7, "none")],
)  # fmt: skip
def test_most_letters_name_the_script(text: Any, name: str | None) -> None:
    """Digits and signs have no say; a missing text stays missing."""
    assert script(text) == name


def test_what_is_no_text_is_told_apart() -> None:
    """Missing is missing, a number is unseen."""
    found = described(("length", "words"), objects(None, 3, "abc"))
    assert np.isnan(found[0]).all() and np.isinf(found[1]).all() and found[2].tolist() == [3, 1]


def test_times_are_seconds_since_1970() -> None:
    """Of every spelling; a time without a zone is in UTC."""
    noon = datetime(2024, 5, 17, 12, tzinfo=UTC)
    spellings = objects(noon, noon.replace(tzinfo=None), noon.isoformat(), "2024-05-17T14:00:00+02:00",
                        "2024-05-17 12:00", np.datetime64("2024-05-17T12"), b"2024-05-17T12:00:00Z")  # fmt: skip
    assert seconds(spellings).tolist() == [noon.timestamp()] * 7
    assert seconds(np.array(["2024-05-17T12"], "M8[h]")).tolist() == [noon.timestamp()]
    assert seconds(objects(date(1970, 1, 2))).tolist() == [86400]


def test_what_is_no_time_is_told_apart() -> None:
    """Missing is missing; anything else is infinite."""
    assert np.isnan(seconds(objects(None, float("nan")))).all() and np.isnan(seconds(np.array(["NaT"], "M8[s]"))).all()
    assert np.isinf(seconds(objects("yesterday", "2024-13-01", [1], object()))).all()


def test_the_hour_goes_round() -> None:
    """Also before 1970."""
    found = described(("time", "hour"), np.array(["1970-01-01T06:30", "1969-12-31T23:00"], "M8[m]"))
    assert found.tolist() == [[23400, 6.5], [-3600, 23.0]]


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((2, 3, 16, 20), 3), ((2, 16, 20, 3), 3), ((2, 16, 16), 1), ((2, 28, 28, 1), 1), ((2, 5, 16, 16), None),
     ((2, 3, 8, 8), None), ((2, 300), None), ((2, 24, 8), None)],
)  # fmt: skip
def test_images_are_known_by_their_shape(shape: tuple[int, ...], channels: int | None) -> None:
    """Channels first or last, or none; what is small or has other channels is no image."""
    images = as_images(np.zeros(shape))
    assert (None if images is None else images.shape[1]) == channels


def test_an_image_is_its_brightness_contrast_blur_and_channels() -> None:
    """Of a flat one, of noise, of noise that was smoothed; layouts agree."""
    flat, noise = np.full((3, 32, 32), 0.5), RANDOM.random((3, 32, 32))
    smooth = sum(np.roll(noise, (i, j), (1, 2)) for i in range(3) for j in range(3)) / 9
    images = np.stack([flat, noise, smooth])
    found = described(IMAGE, images)
    assert found[:, 0] == pytest.approx(images.mean(axis=(1, 2, 3)))
    assert found[:, 1] == pytest.approx(images.std(axis=(1, 2, 3)))
    assert found[0, 2] == 0 and found[1, 2] > 20 * found[2, 2] > 0
    assert described(IMAGE, np.moveaxis(images, 1, -1)) == pytest.approx(found)
    assert described(("channel",) * 3, images)[1] == pytest.approx(noise.mean(axis=(1, 2)))


def test_a_broken_image_is_told() -> None:
    """NaN makes it missing, 1e300 unseen; the others are as they were."""
    images = np.ones((3, 16, 16))
    images[0, 0, 0], images[1, 3, 3] = np.nan, 1e300
    found = described(IMAGE, images)
    assert np.isnan(found[0]).all() and np.isinf(found[1, 1]) and found[2].tolist() == [1, 0, 0]


def test_projections_keep_distances() -> None:
    """As Johnson and Lindenstrauss say, on average over the projections; they do not change between releases."""
    rows = RANDOM.normal(size=(50, 3000))
    found = described(("projection",) * PROJECTIONS, rows)
    ratio = (found**2).mean(axis=1) * 3000 / (rows**2).sum(axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.15)
    signs = described(("projection",) * PROJECTIONS, np.eye(4))[:, :8] * 2
    assert signs.tolist() == [
        [1, -1, 1, 1, -1, 1, 1, -1],
        [-1, 1, 1, -1, 1, 1, -1, 1],
        [1, -1, 1, -1, 1, 1, 1, -1],
        [-1, -1, 1, -1, 1, -1, -1, 1],
    ]


def test_a_projection_of_nothing_known_is_told_apart() -> None:
    """NaN in a row makes it missing, infinity unseen."""
    rows = np.ones((3, 10))
    rows[0, 0], rows[1, 0] = np.nan, np.inf
    found = described(("projection",) * PROJECTIONS, rows)
    assert np.isnan(found[0]).all() and np.isinf(found[1]).all() and np.isfinite(found[2]).all()


def test_elements_may_be_categories() -> None:
    """A tensor of texts, element by element."""
    second = categories(Feature("f[1]", "f", "input", "categorical", "element", 1))
    assert second({"f": np.array([["a", "b"], ["c", "d"]], object)}, 2) == ["b", "d"]
    assert second({"f": np.array([["a"], ["c"]], object)}, 2) == []
