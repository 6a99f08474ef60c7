"""Whose code may run: the digests of artifacts that the user of this machine trusts."""

import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from serinus.models.errors import ModelError
from serinus.models.files import locked

__all__ = ["Trust"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class Trust:
    """The set of trusted digests: those in a home's `trust.toml`, and extra ones given by a flag.

    A pickle runs code of its own choice when it is loaded, so loading one asks `digest in trust` first.
    The file holds `[[trusted]]` tables with `digest`, `why` and `added`; it may be edited by hand.

    Args:
        home: the folder that holds `trust.toml`; None trusts the extra digests only.
        extra: further digests, for this process only.

    Raises:
        ModelError: the file cannot be read, everybody may write to it, or a digest is not one.
    """

    def __init__(self, home: Path | None = None, extra: Collection[str] = ()) -> None:
        self.home = None if home is None else Path(home)
        self._file = None if home is None else Path(home) / "trust.toml"
        self._digests = frozenset(check_digest(digest) for digest in extra) | self._read()

    def __contains__(self, digest: object) -> bool:
        return digest in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._digests))

    def __len__(self) -> int:
        return len(self._digests)

    def remember(self, digest: str, why: str) -> None:
        """Trust a digest from now on, in every process that uses this home.

        The file is written aside and renamed into place, readable by its owner only. Comments in it stay.
        """
        if self._file is None:
            raise ModelError("This trust has no home to remember digests in; make it with Trust(home).")
        check_digest(digest)
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self._file.with_suffix(".lock")):
            if digest not in self._read():
                _replace(self._file, self._text() + _entry(digest, why))
        self._digests |= {digest}

    def _text(self) -> str:
        assert self._file is not None
        return self._file.read_text("utf-8") if self._file.exists() else ""

    def _read(self) -> frozenset[str]:
        if self._file is None or not self._file.exists():
            return frozenset()
        if self._file.stat().st_mode & stat.S_IWOTH:
            raise ModelError(f"Everybody may write to {self._file}, so it proves nothing; run chmod 600 on it.")
        try:
            entries = tomllib.loads(self._text()).get("trusted", [])
            return frozenset(check_digest(entry["digest"]) for entry in entries)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
            raise ModelError(f"{self._file} must hold [[trusted]] tables with a digest each: {error}.") from error


def check_digest(digest: str) -> str:
    """Give the digest back. Raises ModelError where it is not of the form `sha256:` and 64 hex digits."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ModelError(f"{digest!r} is no digest: wanted 'sha256:' and 64 hexadecimal digits in lower case.")
    return digest


def _entry(digest: str, why: str) -> str:
    added = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps("".join(c for c in why if c.isprintable()), ensure_ascii=False)
    return f'\n[[trusted]]\ndigest = "{digest}"\nwhy = {text}\nadded = "{added}"\n'


def _replace(path: Path, text: str) -> None:
    # mkstemp makes the file readable and writable by its owner only.
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".trust-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(aside).replace(path)
