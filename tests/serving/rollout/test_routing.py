"""Routing is a pure, even, monotone and public function."""

from __future__ import annotations

import timeit
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from serinus.serving.rollout import Bucketer, bucket, is_candidate

PUBLISHED = {
    ("", ""): 8931,
    ("salt", "key"): 6443,  # printf saltkey | b2sum -l 64
    ("9f86d081884c7d659a2feaa0c55ad015", "user-1"): 9168,
    ("a", "é"): 9293,
    ("0", "x" * 100): 36,
}
"""Values that other programs may have computed; they never change."""


@pytest.mark.parametrize(("salt", "key", "expected"), [(*pair, value) for pair, value in PUBLISHED.items()])
def test_buckets_never_change(salt: str, key: str, expected: int) -> None:
    """A caller keeps its bucket through every release."""
    assert bucket(salt, key) == expected


@given(st.text(), st.text())
def test_a_bucket_is_the_documented_hash(salt: str, key: str) -> None:
    """The first 64 bits of BLAKE2b over salt and key, scaled to 0..9999; text or its UTF-8 bytes."""
    salt = salt.encode(errors="replace").decode()
    raw = key.encode("utf-8", "surrogatepass")
    expected = int.from_bytes(blake2b(salt.encode() + raw, digest_size=8).digest(), "big") * 10000 >> 64
    assert bucket(salt, key) == Bucketer(salt)(raw) == expected
    assert 0 <= expected <= 9999


def test_half_a_surrogate_pair_is_a_key() -> None:
    """A strange key from JSON gets a bucket, not an error."""
    assert 0 <= bucket("salt", "\ud800") <= 9999


@given(st.text(), st.integers(0, 10000), st.integers(0, 10000))
def test_raising_the_weight_only_adds_callers(key: str, one: int, other: int) -> None:
    """Who has met the candidate meets it at every higher weight; 0 means nobody, 10000 everybody."""
    place = bucket("salt", key)
    low, high = sorted((one, other))
    assert is_candidate(place, low) <= is_candidate(place, high)
    assert not is_candidate(place, 0)
    assert is_candidate(place, 10000)


@pytest.mark.parametrize("salt", ["0", "a" * 32, "9f86d081884c7d659a2feaa0c55ad015"])
def test_buckets_are_even(salt: str) -> None:
    """Numbered callers spread evenly over a hundred parts of the range (chi-squared, fixed keys)."""
    bucket_of = Bucketer(salt)
    counts = [0] * 100
    for number in range(100_000):
        counts[bucket_of(f"user-{number}") // 100] += 1
    assert chisquare(counts).pvalue > 0.001


def test_a_new_salt_chooses_other_callers() -> None:
    """Of the callers first in one rollout, no more than chance are first in the next."""
    one, two = Bucketer("one"), Bucketer("two")
    keys = [f"user-{number}" for number in range(20_000)]
    both = sum(one(key) < 1000 and two(key) < 1000 for key in keys)
    assert 140 < both < 260  # 200 expected, about four standard deviations


def test_a_bucket_is_quick() -> None:
    """Routing is no part of a request's time: about 1 µs, with room for a busy machine."""
    bucket_of = Bucketer("a" * 32)
    took = min(timeit.repeat(lambda: bucket_of("user-123456"), number=10_000, repeat=7)) / 10_000
    assert took < 5e-6
