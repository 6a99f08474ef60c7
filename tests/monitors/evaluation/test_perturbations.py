"""Texts and images that are a little different, by a seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from serinus.monitors.evaluation.perturbations import image_changes, is_image, objects, text_changes

LONG = "the quick brown fox jumps over the lazy dog and on"


def test_texts_are_written_a_little_differently() -> None:
    """Gaps stay gaps, one letter is doubled, a long text has a slip for each 25 letters; one seed, the same slips."""
    values = objects(["north sea", None, "a", LONG])
    changed = {name: array.tolist() for name, array in text_changes(values, np.random.default_rng(0))}
    assert changed["upper case"] == ["NORTH SEA", None, "A", LONG.upper()]
    assert changed["white space"][:3] == [" north  sea ", None, " a "]
    assert changed["cut short"] == ["north", None, "a", LONG[:25]]
    assert changed["typo"][1:3] == [None, "aa"]
    assert sorted(changed["typo"][3]) == sorted(LONG) and changed["typo"][3] != LONG
    assert sum(a != b for a, b in zip(changed["typo"][3], LONG, strict=True)) in (2, 3, 4)
    again = dict(text_changes(values, np.random.default_rng(0)))["typo"].tolist()
    assert again == changed["typo"]


@pytest.mark.parametrize(("shape", "dtype", "wanted"), [
    ((9, 8, 8), "f8", True), ((9, 8, 8, 3), "u1", True), ((9, 1, 8, 8), "f4", True), ((9, 8), "f8", False),
    ((9, 3, 3), "f8", False), ((9, 8, 8, 7), "f8", False), ((9, 8, 8), "O", False)])
def test_images_are_known_by_their_shape(shape: tuple[int, ...], dtype: str, wanted: bool) -> None:
    """Height and width of four at least, channels before or behind; sequences of other things are left alone."""
    assert is_image(np.zeros(shape, dtype)) is wanted


@pytest.mark.parametrize("shape", [(5, 8, 9), (5, 8, 9, 3), (5, 1, 8, 9)])
def test_a_blur_is_the_mean_of_nine_pixels(shape: tuple[int, ...]) -> None:
    """As scipy has it; rows and channels do not mix."""
    images = np.random.default_rng(1).random(shape)
    sides = (1, 2) if shape[-1] != 9 or len(shape) == 3 else (2, 3)
    wanted = uniform_filter(images, [3 if axis in sides else 1 for axis in range(len(shape))], mode="nearest")
    assert dict(image_changes(images, np.random.default_rng(0)))["blur"] == pytest.approx(wanted)


def test_pixels_keep_their_range_and_type() -> None:
    """Bytes stay bytes, however light it gets; light moves by a tenth of the range, noise by what it says."""
    images = np.random.default_rng(2).integers(0, 256, (50, 16, 16)).astype(np.uint8)
    changed = dict(image_changes(images, np.random.default_rng(0)))
    assert {array.dtype for array in changed.values()} == {np.dtype(np.uint8)}
    inside = (images > 30) & (images < 225)
    apart = {name: (array.astype(int) - images)[inside] for name, array in changed.items()}
    assert set(apart["brighter"].tolist()) <= {25, 26} and set(apart["darker"].tolist()) <= {-25, -26}
    assert apart["noise 5 %"].std() == pytest.approx(0.05 * 255, rel=0.05)
    assert changed["brighter"].max() == 255


@pytest.mark.parametrize("images", [np.zeros((3, 8, 8)), np.full((3, 8, 8), np.nan), np.empty((0, 8, 8))])
def test_images_without_content_are_left_alone(images: np.ndarray) -> None:
    """There is nothing to change."""
    assert list(image_changes(images, np.random.default_rng(0))) == []


def test_huge_pixels_and_gaps_are_no_hindrance() -> None:
    """What overflows is clipped."""
    images = np.random.default_rng(3).random((3, 8, 8))
    images[0, 0, 0], images[1, 1, 1], images[2, 2, 2] = 1.7e308, -1.7e308, np.nan
    assert len(list(image_changes(images, np.random.default_rng(0)))) == 5
