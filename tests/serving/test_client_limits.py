"""Token buckets that all workers share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serinus.serving.client_limits import ClientLimits

SECOND = 10**9


class Clock:
    """Time that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(tmp_path: Path, clock: Clock) -> Callable[..., ClientLimits]:
    return lambda rate=2.0, burst=3: ClientLimits(tmp_path / "clients", rate, burst, clock=clock)


def test_a_burst_passes_and_then_one_at_a_time(limits: Callable[..., ClientLimits], clock: Clock) -> None:
    """Three at once, then one each half second; a refusal says how long to wait and costs nothing."""
    bucket = limits()
    assert [bucket.wait_ns(7) for _ in range(5)] == [0, 0, 0, SECOND // 2, SECOND // 2]
    clock.now += SECOND // 2
    assert [bucket.wait_ns(7) for _ in range(2)] == [0, SECOND // 2]
    clock.now += 60 * SECOND
    assert [bucket.wait_ns(7) for _ in range(4)] == [0, 0, 0, SECOND // 2]


def test_over_a_minute_the_rate_holds(limits: Callable[..., ClientLimits], clock: Clock) -> None:
    """Who asks a hundred times a second gets the burst and two a second."""
    bucket, passed = limits(), 0
    for _ in range(6_000):
        passed += bucket.wait_ns(7) == 0
        clock.now += SECOND // 100
    assert passed == 3 + 2 * 60 - 1


def test_clients_do_not_pay_for_each_other(limits: Callable[..., ClientLimits]) -> None:
    """Each has a bucket of its own, also where two hashes fall on one place."""
    bucket = limits(burst=1)
    clients = [7, 8, 7 + (1 << 18), 7 + (1 << 19)]
    assert [bucket.wait_ns(client) for client in clients] == [0] * 4
    assert all(bucket.wait_ns(client) > 0 for client in clients)


def test_workers_share_the_buckets(limits: Callable[..., ClientLimits]) -> None:
    """What was asked of one worker is known to the other."""
    first, second = limits(), limits()
    assert [first.wait_ns(7), second.wait_ns(7), first.wait_ns(7)] == [0, 0, 0]
    assert second.wait_ns(7) > 0
    first.close()
    second.close()


def test_an_old_bucket_makes_room(limits: Callable[..., ClientLimits], clock: Clock) -> None:
    """A place whose bucket is full again belongs to whoever comes."""
    bucket = limits(burst=1)
    for client in (7 + (turn << 18) for turn in range(20)):
        assert bucket.wait_ns(client) == 0
        clock.now += SECOND
