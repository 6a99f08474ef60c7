"""Changes of texts and images that people would hardly notice: typing slips, spaces, a cut, noise, light, blur."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["image_changes", "is_image", "objects", "text_changes"]

Array = NDArray[Any]

_CHANNELS = (1, 3, 4)
_LEAST_SIDE = 4
_LETTERS_A_TYPO = 25
_LIGHT = 0.1


def text_changes(values: Array, draw: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Other words, and the same ones written a little differently; what is missing stays so."""
    texts = [None if value is None else str(value) for value in values.tolist()]
    yield "other value", objects(["(another value)" for _ in texts])
    for name, change in (("upper case", str.upper), ("white space", _spaced), ("cut short", _cut),
                         ("typo", lambda text: _typos(text, draw))):
        yield name, objects([None if text is None else change(text) for text in texts])


def _spaced(text: str) -> str:
    return f" {text.replace(' ', '  ')} "


def _cut(text: str) -> str:
    return text[: -(-len(text) // 2)]


def _typos(text: str, draw: np.random.Generator) -> str:
    """Swap two neighbouring letters, in a long text one pair for each 25 letters; a single letter is doubled."""
    if len(text) < 2:
        return text * 2
    letters = list(text)
    for place in draw.integers(len(text) - 1, size=-(-len(text) // _LETTERS_A_TYPO)).tolist():
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def objects(values: list[Any]) -> Array:
    """A column of these."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def is_image(array: Array) -> bool:
    """Whether rows look like images: numbers `[rows, height, width]`, or with channels before or behind."""
    return array.dtype.kind in "fiu" and _sides(array) is not None


def _sides(array: Array) -> tuple[int, int] | None:
    """The axes of height and width."""
    if array.ndim == 3 or (array.ndim == 4 and array.shape[3] in _CHANNELS):
        found = 1, 2
    elif array.ndim == 4 and array.shape[1] in _CHANNELS:
        found = 2, 3
    else:
        return None
    return found if min(array.shape[found[0]], array.shape[found[1]]) >= _LEAST_SIDE else None


def image_changes(array: Array, draw: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Noise and light, as shares of the range of the pixels, which they never leave; and a blur of 3 × 3 pixels."""
    pixels = array.astype(np.float64)
    known = pixels[np.isfinite(pixels)]
    if not len(known) or known.min() == known.max():
        return
    low, high = float(known.min()), float(known.max())
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
        changes = [("noise 1 %", pixels + draw.normal(0, 0.01 * span, pixels.shape)),
                   ("noise 5 %", pixels + draw.normal(0, 0.05 * span, pixels.shape)),
                   ("brighter", pixels + _LIGHT * span), ("darker", pixels - _LIGHT * span), ("blur", _blurred(pixels))]
        for name, changed in changes:
            changed = np.clip(changed, low, high)
            yield name, np.asarray((np.rint(changed) if array.dtype.kind in "iu" else changed).astype(array.dtype))


def _blurred(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each pixel as the mean of itself and its eight neighbours; at the edge it is its own neighbour."""
    for axis in _sides(pixels) or ():
        padded = np.pad(pixels, [(1, 1) if each == axis else (0, 0) for each in range(pixels.ndim)], mode="edge")
        size = pixels.shape[axis]
        pixels = np.mean([np.take(padded, range(start, start + size), axis) for start in range(3)], axis=0)
    return pixels
