"""Is everything in order? One look at each thing that serving needs, each told in a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from serinus.serving.doctor.alerts import look_at_alerts
from serinus.serving.doctor.check import Check, problem
from serinus.serving.doctor.examples import look_at_examples
from serinus.serving.doctor.home import look_at_home, look_at_log
from serinus.serving.doctor.installation import look_at_installation
from serinus.serving.doctor.models import look_at_models
from serinus.serving.doctor.port import look_at_port
from serinus.serving.doctor.servers import look_at_servers
from serinus.serving.doctor.settings import look_at_settings
from serinus.serving.doctor.store import look_at_store
from serinus.serving.doctor.telemetry import look_at_telemetry
from serinus.serving.home import Home

__all__ = ["Check", "examine"]


def examine(*, config: Path | None = None, home: Path | None = None, deep: bool = False,
            load: bool = True) -> Iterator[Check]:
    """Look at everything, as the environment of this process and these two flags say; `deep` reads every file of every
    version and tries each. Nothing is changed and nothing is made, but for the two variables that stand for our own
    telemetry settings, and one document in the store, which is removed again.

    Without `load` no model is loaded, which takes the longest.
    """
    yield from look_at_installation()
    settings, checks = look_at_settings(config, home)
    yield from checks
    place = Home(settings.home.absolute())
    yield from _guarded("port", look_at_port(settings, place))
    yield from _guarded("home", look_at_home(place, settings))
    yield from _guarded("log", look_at_log(place, settings))
    yield from _guarded("models", look_at_models(place, deep=deep))
    if load:
        yield from _guarded("examples", look_at_examples(settings, place, deep=deep))
    yield from _guarded("store", look_at_store(place))
    yield from look_at_telemetry(settings)
    yield from _guarded("alerts", look_at_alerts(settings, place))
    yield from _guarded("servers", look_at_servers(place))


def _guarded(subject: str, checks: Iterator[Check]) -> Iterator[Check]:
    """The checks; a file or folder that cannot be looked at is a problem and ends them."""
    try:
        yield from checks
    except OSError as error:
        yield problem(subject, f"{error.filename} cannot be looked at: {error.strerror}.",
                      "Act as the user who serves, or correct its permissions.")
