"""Which requests are logged where the log keeps a share of them only: an id alone says so, whoever asks."""

from __future__ import annotations

from google_crc32c import value as crc32c

__all__ = ["is_logged"]

_ALL = 1 << 32


def is_logged(prediction_uuid: bytes, share: float) -> bool:
    """Whether a request is among the share that is logged. Who is logged at a share is logged at any larger one."""
    return share >= 1 or crc32c(prediction_uuid) < share * _ALL
