"""Who meets the candidate: a pure hash of the rollout's salt and the caller's routing key.

Every worker and replica gives a caller the same bucket without shared state. The candidate's range starts at bucket 0,
so raising the weight only adds callers, and a new salt per rollout means that the same callers are not always first.
The values are public: they never change between releases.
"""

from __future__ import annotations

from hashlib import blake2b

from serinus.serving.rollout.state import FULL_WEIGHT


class Bucketer:
    """Gives routing keys their buckets in one rollout; made once per salt, safe to share between threads.

    Called with a key it answers a bucket from 0 to 9999. Text counts as its UTF-8 bytes.
    """

    __slots__ = ("_seeded",)

    def __init__(self, salt: str) -> None:
        self._seeded = blake2b(salt.encode(), digest_size=8)

    def __call__(self, key: str | bytes) -> int:
        """The bucket of `key`, 0 to 9999."""
        hasher = self._seeded.copy()
        hasher.update(key if isinstance(key, bytes) else _encode(key))
        return (int.from_bytes(hasher.digest(), "big") * FULL_WEIGHT) >> 64


def bucket(salt: str, key: str | bytes) -> int:
    """The bucket of `key` under `salt`, 0 to 9999; for many keys of one rollout use a Bucketer."""
    return Bucketer(salt)(key)


def is_candidate(bucket: int, weight: int) -> bool:
    """Whether the candidate answers a caller of this bucket at `weight` basis points."""
    return bucket < weight


def _encode(key: str) -> bytes:
    """JSON may carry half a surrogate pair, which is still somebody's key."""
    return key.encode("utf-8", "surrogatepass")
