"""When a call is sent again, and after how long."""

from __future__ import annotations

import pytest

from serinus.serving.client.call import Resend
from serinus.serving.client.retries import Failure, Retries

_SAFE = {Resend.ALWAYS: {Failure.UNSENT, Failure.BROKEN, Failure.REFUSED},
         Resend.REFUSED: {Failure.UNSENT, Failure.REFUSED}, Resend.UNSENT: {Failure.UNSENT}, Resend.NEVER: set()}


@pytest.mark.parametrize("resend", Resend)
@pytest.mark.parametrize("failure", Failure)
def test_only_what_is_safe_is_sent_again(resend: Resend, failure: Failure) -> None:
    """What counts twice is not repeated when nobody knows whether it was done."""
    wait = Retries().wait_s(resend, failure, attempts=1, left_s=30, chance=0.5)
    assert (wait is not None) == (failure in _SAFE[resend])


def test_waits_double_and_end() -> None:
    """A random share of 0.1, 0.2, 0.4 s; after three further attempts the caller is told."""
    policy = Retries(most=3, first_s=0.1)
    waits = [policy.wait_s(Resend.ALWAYS, Failure.BROKEN, number, 30, 0.5) for number in (1, 2, 3, 4)]
    assert waits == [0.05, 0.1, 0.2, None]
    assert Retries(most=20, longest_s=5).wait_s(Resend.ALWAYS, Failure.BROKEN, 15, 300, 0.999) == pytest.approx(4.995)


def test_a_server_that_names_a_wait_is_obeyed() -> None:
    """Never earlier than it says, and not all at once; not at all where the time that is left does not reach."""
    policy = Retries()
    assert policy.wait_s(Resend.ALWAYS, Failure.REFUSED, 1, 30, 0.0, named_s=7) == 7
    assert policy.wait_s(Resend.ALWAYS, Failure.REFUSED, 1, 30, 0.8, named_s=10) == 12
    assert policy.wait_s(Resend.ALWAYS, Failure.REFUSED, 1, 5, 0.0, named_s=7) is None
