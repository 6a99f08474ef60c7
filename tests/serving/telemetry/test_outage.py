"""One line when an outage begins, one when it is over, and the exporter's reason in place of its own lines."""

from __future__ import annotations

import logging

import pytest

from serinus.serving.telemetry.outage import Outage, patience


def test_an_outage_is_told_once_at_either_end(caplog: pytest.LogCaptureFixture) -> None:
    """With the first thing that the exporter said, and with what was lost."""
    exporter = logging.getLogger("opentelemetry.exporter.otlp.proto.http")
    outage = Outage("spans", "answers are not affected")
    for sent in (True, False, False, True, True, False):
        if not sent:
            exporter.warning("Connection\nrefused, retrying in %d s", 1)
            exporter.error("Gave up")
        outage.tell(sent, "; 7 were lost")
    begins = ("The OpenTelemetry backend does not take spans; answers are not affected. "
              "The exporter says: Connection refused, retrying in 1 s")
    over = "The OpenTelemetry backend takes spans again; 7 were lost."
    assert [record.message for record in caplog.records] == [begins, over, begins]


def test_who_failed_before_is_waited_for_a_second_at_most() -> None:
    """A process that ends does not spend its time on a backend that is known to be gone."""
    outage = Outage("metrics", "/metrics has them")
    assert patience(3.0, outage) == 3.0
    outage.tell(False)
    assert (patience(3.0, outage), patience(0.5, outage)) == (1.0, 0.5)
    outage.tell(True)
    assert patience(3.0, outage) == 3.0
