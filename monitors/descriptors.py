"""Descriptors: how numbers and categories come out of a field.

A column is its own number or category; a small tensor is its elements. The rest is described: a time by its seconds and
its hour, a text by its length, words and letters, an image by brightness, contrast, blur and channel means, another
large tensor by 32 random projections. No model is downloaded, and every description is one scalar per row, watched like
any other. Times are seconds since 1970 in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.features import Feature, is_missing

__all__ = ["IMAGE", "PROJECTIONS", "TEXT", "TIME", "VOCABULARY_BYTES", "as_images", "categories", "extractor", "floats",
           "seconds", "words"]  # fmt: skip

IMAGE = ("brightness", "contrast", "blur")
"""Views of an image; besides, `channel` is the mean of each channel."""

TEXT = ("length", "words", "non_letters", "digits", "unknown_words")
"""Numeric views of a text; besides, `script` is a category."""

TIME = ("time", "hour")
"""Views of a time."""

PROJECTIONS = 32
"""Random projections of a tensor that is too large to be watched element by element."""

VOCABULARY_BYTES = 1 << 14
"""A vocabulary is a map of 131,072 bits: the hashes of the reference's words."""

_READ = 4096
"""Characters of a text that are looked at, but for its length."""
_THUMBNAIL = 64
_CELLS = 1 << 21
_WORD = re.compile(r"[^\W\d_]+")
_BITS = VOCABULARY_BYTES * 8 - 1

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
Extractor = Callable[[Arrays, int], Floats]


def extractor(features: Sequence[Feature], vocabulary: bytes, seed: int) -> Extractor:
    """Give the function from arrays and a number of rows to the values [n, k] of these features, which either are
    plain columns or all come from one field."""
    field, views = features[0].field, [feature.view for feature in features]
    indices = [feature.index for feature in features]
    if views[0] == "value":
        return _columns([feature.field for feature in features])
    if views[0] in TIME:
        return _described(field, views, _times)
    if views[0] in TEXT:
        return _described(field, views, lambda array, rows: _texts(array, rows, vocabulary))
    if views[0] in (*IMAGE, "channel"):
        return _images(field, views, indices)
    return _projections(field, indices, seed) if views[0] == "projection" else _elements(field, indices)


def categories(feature: Feature) -> Callable[[Arrays, int], list[Any] | None]:
    """Give the function from arrays and a number of rows to a categorical feature's values; None where it is absent."""
    field, view, index = feature.field, feature.view, feature.index

    def extract(arrays: Arrays, rows: int) -> list[Any] | None:
        array = arrays.get(field)
        if array is None:
            return None
        if view == "value":
            values: list[Any] = array.ravel().tolist()
        elif view == "script":
            values = _scripts(array.ravel().tolist())
        elif array.size > rows * index and not array.size % rows:
            values = array.reshape(rows, -1)[:, index].tolist()
        else:
            values = []
        return values

    return extract


def _described(field: str, views: list[str], describe: Callable[[NDArray[Any], int], dict[str, Floats]]) -> Extractor:
    """Views of a column that come out of one look at it."""

    def extract(arrays: Arrays, rows: int) -> Floats:
        array = arrays.get(field)
        if array is None or array.size != rows:
            return np.full((rows, len(views)), np.nan if array is None else np.inf)
        found = describe(array.ravel(), rows)
        return np.stack([found[view] for view in views], axis=1)

    return extract


# Columns


def _columns(names: list[str]) -> Extractor:
    def extract(arrays: Arrays, rows: int) -> Floats:
        try:
            flat = np.concatenate([arrays[name] for name in names], axis=None, dtype=np.float64, casting="unsafe")
            return flat.reshape(len(names), rows).T
        except (KeyError, TypeError, ValueError, OverflowError):  # absent, of another type, or of another length
            return np.stack([_column(arrays.get(name), rows) for name in names], axis=1)

    return extract


def _column(array: NDArray[Any] | None, rows: int) -> Floats:
    if array is None:
        return np.full(rows, np.nan)
    return floats(array) if array.size == rows else np.full(rows, np.inf)


def floats(array: NDArray[Any]) -> Floats:
    """Give the numbers of an array as float64 [n]; NaN for missing values, infinity for what is no number."""
    try:
        return array.astype(np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return np.array([_float(value) for value in array.ravel().tolist()], np.float64)


def _float(value: Any) -> float:
    if is_missing(value):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.inf


# Times


def _times(array: NDArray[Any], rows: int) -> dict[str, Floats]:
    time = seconds(array)
    with np.errstate(invalid="ignore"):
        return {"time": time, "hour": np.where(np.isinf(time), time, time % 86400 / 3600)}


def seconds(array: NDArray[Any]) -> Floats:
    """Give times as seconds since 1970: of datetime64, of datetime objects, of ISO 8601 texts, of numbers as they are.

    Missing times are NaN; what is no time is infinite.
    """
    if array.dtype.kind == "M":
        found = array.astype("datetime64[us]").astype(np.int64) / 1e6
        found[np.isnat(array)] = np.nan
        return found
    if array.dtype.kind in "OUS":
        return np.array([_second(value) for value in array.ravel().tolist()], np.float64)
    return floats(array)


def _second(value: Any) -> float:
    if is_missing(value):
        return np.nan
    try:
        time = datetime.fromisoformat(_text(value)) if isinstance(value, str | bytes) else value
        if isinstance(time, datetime):
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        if isinstance(time, np.datetime64):
            return float(time.astype("datetime64[us]").astype(np.int64)) / 1e6
        return datetime(time.year, time.month, time.day, tzinfo=UTC).timestamp()
    except (TypeError, ValueError, OverflowError, AttributeError):
        return np.inf


# Texts


def _texts(array: NDArray[Any], rows: int, vocabulary: bytes) -> dict[str, Floats]:
    values = array.tolist()
    texts = [_text(value)[:_READ] if isinstance(value, str | bytes) else "" for value in values]
    lengths = np.array([len(text) for text in texts], np.intp)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    letters, digits, starts = (_sums(marks, ends) for marks in _marks("".join(texts), ends))
    total = np.maximum(lengths, 1)
    found = {
        "length": np.array([len(value) if isinstance(value, str | bytes) else 0 for value in values], np.float64),
        "words": starts,
        "non_letters": np.where(lengths, 1 - letters / total, 0.0),
        "digits": digits / total,
        "unknown_words": np.array([_unknown(text, vocabulary) for text in texts] if vocabulary else np.zeros(rows)),
    }
    odd = np.array([not isinstance(value, str | bytes) for value in values], bool)
    if odd.any():
        instead = np.array([np.nan if is_missing(value) else np.inf for value in values])
        found = {view: np.where(odd, instead, numbers) for view, numbers in found.items()}
    return found


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _sums(marks: NDArray[np.bool_], ends: NDArray[np.int64]) -> Floats:
    """Count the marks between each end and the next."""
    return np.diff(np.concatenate([[0], np.cumsum(marks)])[ends]).astype(np.float64)


def _marks(text: str, ends: NDArray[np.int64]) -> tuple[NDArray[np.bool_], ...]:
    """Say of each character whether it is a letter, a digit, the first of a word."""
    letters, digits, spaces, _ = _characters()
    characters = _code_points(text)
    space = spaces[characters]
    first = np.empty(len(space), bool)
    first[1:] = space[:-1]
    first[ends[:-1][ends[:-1] < len(space)]] = True
    return letters[characters], digits[characters], first & ~space


def _code_points(text: str) -> NDArray[np.uint32]:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return np.where(points < _PLANE, points, np.where((points >= 0x20000) & (points < 0x32000), 0x4E00, 0))


def _unknown(text: str, vocabulary: bytes) -> float:
    found = words(text)
    unknown = sum(1 for bit in found if not vocabulary[bit >> 3] >> (bit & 7) & 1)
    return unknown / max(len(found), 1)


def words(text: str | bytes) -> list[int]:
    """Give the hash of each word, below 131,072; case does not matter."""
    found = _WORD.findall(_text(text)[:_READ].lower())
    return [crc32(word.encode("utf-8", "surrogatepass")) & _BITS for word in found]


def _scripts(values: list[Any]) -> list[Any]:
    """Name the script that most letters of each text are in; "none" where it has none."""
    texts = [_text(value)[:_READ] if isinstance(value, str | bytes) else "" for value in values]
    letters, _, _, scripts = _characters()
    characters = _code_points("".join(texts))
    lines = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    found = letters[characters]
    cells = lines[found] * len(_SCRIPTS) + scripts[characters[found]]
    table = np.bincount(cells, minlength=len(texts) * len(_SCRIPTS)).reshape(-1, len(_SCRIPTS))
    names = [_SCRIPTS[int(row.argmax())][1] if row.any() else "none" for row in table]
    return [None if is_missing(value) else name for value, name in zip(values, names, strict=True)]


_PLANE = 1 << 16
_SCRIPTS = (
    (0x0000, "latin"), (0x0370, "greek"), (0x0400, "cyrillic"), (0x0530, "other"), (0x0590, "hebrew"),
    (0x0600, "arabic"), (0x0900, "indic"), (0x0E00, "thai"), (0x0E80, "other"), (0x1100, "hangul"), (0x1200, "other"),
    (0x1E00, "latin"), (0x1F00, "greek"), (0x2000, "other"), (0x3040, "kana"), (0x3100, "other"), (0x3400, "han"),
    (0xA000, "other"), (0xAC00, "hangul"), (0xD800, "other"), (0xF900, "han"), (0xFB00, "other"),
)  # fmt: skip
"""First code points of runs of one script, coarse on purpose: a change of script is what matters."""


@cache
def _characters() -> tuple[NDArray[Any], ...]:
    """Tables over the first 65,536 code points: letters, digits, spaces, scripts."""
    every = [chr(point) for point in range(_PLANE)]
    firsts = [first for first, _ in _SCRIPTS]
    names = [name for _, name in _SCRIPTS]
    same = np.array([names.index(name) for name in names])
    return (
        np.array([character.isalpha() for character in every]),
        np.array([character.isdigit() for character in every]),
        np.array([character.isspace() for character in every]),
        same[np.searchsorted(firsts, np.arange(_PLANE), "right") - 1],
    )


# Tensors


def _elements(field: str, indices: list[int]) -> Extractor:
    everything, last = indices == list(range(len(indices))), max(indices)

    def extract(arrays: Arrays, rows: int) -> Floats:
        array = arrays.get(field)
        if array is None:
            return np.full((rows, len(indices)), np.nan)
        if everything and array.shape == (rows, len(indices)) and array.dtype.kind == "f":
            return array.astype(np.float64)
        if array.size <= rows * last or not rows or array.size % rows:
            return np.full((rows, len(indices)), np.inf)
        flat = array.reshape(rows, -1)
        chosen = flat if everything and flat.shape[1] == len(indices) else flat[:, indices]
        return chosen.astype(np.float64) if chosen.dtype.kind in "biuf" else floats(chosen).reshape(chosen.shape)

    return extract


def as_images(array: NDArray[Any]) -> NDArray[Any] | None:
    """Give a tensor as images [n, C, H, W], at least 16 × 16; None where it does not look like some."""
    if array.dtype.kind not in "biuf" or array.ndim not in (3, 4):
        return None
    images = array[:, None] if array.ndim == 3 else array
    if images.shape[1] not in (1, 3, 4):
        images = np.moveaxis(images, -1, 1)
    return images if images.shape[1] in (1, 3, 4) and min(images.shape[2:]) >= 16 else None


def _images(field: str, views: list[str], indices: list[int]) -> Extractor:
    def extract(arrays: Arrays, rows: int) -> Floats:
        array = arrays.get(field)
        images = None if array is None else as_images(array)
        if images is None or len(images) != rows:
            return np.full((rows, len(views)), np.nan if array is None else np.inf)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [_image_views(part.astype(np.float64), views, indices) for part in _portions(images)]
        return np.concatenate(parts) if parts else np.empty((0, len(views)))

    return extract


def _portions(array: NDArray[Any]) -> Iterable[NDArray[Any]]:
    """Cut rows into portions that do not fill the memory when they become float64."""
    step = max(1, _CELLS // max(1, array[:1].size))
    return (array[start : start + step] for start in range(0, len(array), step))


def _image_views(images: Floats, views: list[str], indices: list[int]) -> Floats:
    channels = images.mean(axis=(2, 3))
    brightness = channels.mean(axis=1)
    blur = np.where(np.isnan(brightness), np.nan, _blur(images))  # the thumbnail may have left a NaN out
    found = {"brightness": brightness, "contrast": images.std(axis=(1, 2, 3)), "blur": blur}
    columns = [
        channels[:, min(index, channels.shape[1] - 1)] if view == "channel" else found[view]
        for view, index in zip(views, indices, strict=True)
    ]
    return np.stack(columns, axis=1)


def _blur(images: Floats) -> Floats:
    """The variance of the Laplacian on a thumbnail: low where nothing is sharp."""
    step = max(1, min(images.shape[2:]) // _THUMBNAIL)
    small = images[:, :, ::step, ::step].mean(axis=1)
    inner = small[:, 1:-1, 1:-1]
    around = small[:, :-2, 1:-1] + small[:, 2:, 1:-1] + small[:, 1:-1, :-2] + small[:, 1:-1, 2:]
    return np.asarray((around - 4 * inner).var(axis=(1, 2)))


def _projections(field: str, indices: list[int], seed: int) -> Extractor:
    signs = cache(lambda width: _signs(field, width, seed)[:, indices])

    def extract(arrays: Arrays, rows: int) -> Floats:
        array = arrays.get(field)
        if array is None or array.dtype.kind not in "biuf" or not rows or array.size % rows:
            return np.full((rows, len(indices)), np.nan if array is None else np.inf)
        flat = array.reshape(rows, -1)
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.concatenate([part.astype(np.float64) @ signs(flat.shape[1]) for part in _portions(flat)])
        odd = ~np.isfinite(found).all(axis=1)
        if odd.any():
            found[odd] = np.where(np.isnan(flat[odd]).any(axis=1), np.nan, np.inf)[:, None]
        return found

    return extract


def _signs(field: str, width: int, seed: int) -> Floats:
    """Random signs [width, 32] over √width: raw bits of the generator, which are the same in every numpy."""
    start = int.from_bytes(blake2b(f"{seed}:{field}".encode(), digest_size=8).digest(), "little")
    bits = np.random.PCG64(start).random_raw(-(-width * PROJECTIONS // 64)).astype("<u8").view(np.uint8)
    signs = np.unpackbits(bits)[: width * PROJECTIONS].reshape(width, PROJECTIONS)
    return np.asarray((2.0 * signs - 1) / np.sqrt(width))
