"""Tokens: who holds one, and what each may do. Compared in constant time, kept as digests, never logged.

    infer       ask for predictions, if any token at all has this scope; else everybody may
    feedback    send ground truth and outcomes
    read        look at models, rollouts, monitors and alerts
    operate     change what is served; includes `read`
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from serinus.serving.errors import SettingsError
from serinus.serving.settings import ControlSettings, TokenSettings

__all__ = ["Holder", "Tokens", "tokens_of"]

_BEARER = b"bearer "
_ALL = frozenset({"infer", "feedback", "read", "operate"})


class Holder(NamedTuple):
    """Whose token it is, for the journal, and what it is good for. The one of `control.token` has no name."""

    name: str
    scopes: frozenset[str]


class Tokens:
    """All tokens of a server. Raises SettingsError where one cannot be had."""

    def __init__(self, settings: ControlSettings) -> None:
        self._holders = [(_digest(_secret(each)), Holder(each.name, _scopes(each))) for each in settings.tokens]
        if settings.token is not None:
            self._holders.append((_digest(settings.token.encode()), Holder("", _ALL)))
        self.guard_inference = any("infer" in each.scopes for each in settings.tokens)
        """Whether predictions are for holders of a token only."""

    def __bool__(self) -> bool:
        return bool(self._holders)

    def holder(self, authorization: bytes) -> Holder | None:
        """Whose token an `Authorization` header carries; None for none of ours. Every token is compared each time."""
        given = authorization.strip()
        secret = given[len(_BEARER):].strip() if given[: len(_BEARER)].lower() == _BEARER else given
        digest, found = _digest(secret), None
        for known, holder in self._holders:
            if hmac.compare_digest(known, digest):
                found = holder
        return found


@lru_cache(maxsize=8)
def tokens_of(settings: ControlSettings) -> Tokens:
    """The tokens that the settings describe; read once."""
    return Tokens(settings)


def _scopes(token: TokenSettings) -> frozenset[str]:
    return frozenset(token.scopes) | ({"read"} if "operate" in token.scopes else frozenset())


def _secret(token: TokenSettings) -> bytes:
    if token.file is None:
        return (token.token or "").encode()
    try:
        secret = Path(token.file).read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"Token {token.name!r} of control.tokens: {token.file} cannot be read "
                            f"({error.strerror}).") from None
    if not secret:
        raise SettingsError(f"Token {token.name!r} of control.tokens: {token.file} is empty.")
    return secret


def _digest(secret: bytes) -> bytes:
    return blake2b(secret, digest_size=32).digest()
