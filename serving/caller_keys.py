"""Callers' own keys: which of a request's rows a caller can name later without our id, by a number that he has anyway.

A key comes in the header `log.key_header`: one for all rows or, separated by commas, as many as there are rows; else in
the body's `prediction_key`, one or a list; else row by row in the input `log.key_input`. It goes nowhere but, hashed,
into the key index.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serinus.serving.errors import InvalidRequest
from serinus.serving.expectations import deployment_key
from serinus.serving.home import Home
from serinus.serving.prediction_log.keys import LONGEST, KeyWriter, hash_of, key_text
from serinus.serving.protocols import Headers
from serinus.serving.request import InferenceRequest
from serinus.serving.settings import LogSettings

__all__ = ["CallerKeys"]

Keys = Sequence[str | None]
"""One for each row of a request."""


class CallerKeys:
    """Finds the keys of one worker's requests and notes them."""

    def __init__(self, settings: LogSettings, folder: Path, secret: bytes, writer: int) -> None:
        self._header = settings.key_header.lower().encode("latin-1")
        self._field = settings.key_input
        self._secret = secret
        self._index = KeyWriter(folder, writer)

    @classmethod
    def wanted(cls, settings: LogSettings, home: Home, writer: int) -> CallerKeys | None:
        """None where nothing is logged that a key could name."""
        return cls(settings, home.keys, deployment_key(home.path), writer) if settings.enabled else None

    def of(self, headers: Headers, request: InferenceRequest) -> Keys | None:
        """The keys of a request's rows; None where it has none, which costs next to nothing."""
        given = headers.get(self._header)
        if given is not None:
            return self._named(_text(given), request.rows)
        if request.prediction_keys is not None:
            return _of_body(request.prediction_keys, request.rows)
        if self._field is not None and (array := (request.sent or request.inputs).get(self._field)) is not None:
            found = [key_text(value) for value in array.ravel().tolist()] if len(array) == request.rows else []
            return found if any(key is not None for key in found) else None
        return None

    def keep(self, keys: Keys, uuid: bytes) -> None:
        """Note them. Raises OSError when that cannot be done."""
        hashes = {key: hash_of(key, self._secret) for key in dict.fromkeys(keys) if key is not None}
        self._index.append([None if key is None else hashes[key] for key in keys], uuid)

    def close(self) -> None:
        """End the file that is written."""
        self._index.close()

    def _named(self, text: str, rows: int) -> Keys:
        several = [part.strip() for part in text.split(",")] if rows > 1 else [text]
        keys = several if len(several) == rows else [text] * rows
        if not all(0 < len(key) <= LONGEST for key in keys):
            raise InvalidRequest(f"Header {self._header.decode()}: expected keys of 1 to {LONGEST} characters, got "
                                 f"{min(map(len, keys))} to {max(map(len, keys))}.")
        return keys


def _of_body(given: str | tuple[str | None, ...], rows: int) -> Keys | None:
    keys = (given,) * rows if isinstance(given, str) else given
    if len(keys) != rows:
        raise InvalidRequest(f"The body's prediction_key: expected one for each of {rows} rows, got {len(keys)}. Send "
                             "one for all, or a list with one for each.")
    return keys if any(key is not None for key in keys) else None


def _text(header: bytes) -> str:
    try:
        return header.decode().strip()
    except UnicodeDecodeError:
        return header.decode("latin-1").strip()
