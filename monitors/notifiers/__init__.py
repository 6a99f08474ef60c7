"""The notifiers at hand: the built-in kinds, and those that installed packages offer as `serinus.notifiers`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from serinus.monitors.notifiers.alertmanager import Alertmanager
from serinus.monitors.notifiers.apprise import Apprise
from serinus.monitors.notifiers.log import Log
from serinus.monitors.notifiers.notifier import DeliveryFailed, Notification, Notifier, NotifierMisconfigured
from serinus.monitors.notifiers.slack import Slack
from serinus.monitors.notifiers.webhook import Webhook, is_authentic

__all__ = ["Alertmanager", "Apprise", "DeliveryFailed", "Log", "Notification", "Notifier", "NotifierMisconfigured",
           "Slack", "Webhook", "is_authentic", "kinds", "make_notifier"]

_BUILT_IN: Mapping[str, Callable[..., Notifier]] = {
    "alertmanager": Alertmanager, "apprise": Apprise, "log": Log, "slack": Slack, "webhook": Webhook}


@cache
def kinds() -> tuple[str, ...]:
    """Give the names of all kinds of notifiers."""
    return tuple(sorted({*_BUILT_IN, *(point.name for point in entry_points(group="serinus.notifiers"))}))


def make_notifier(kind: str, options: Mapping[str, Any]) -> Notifier:
    """Give a notifier of this kind with these options. Raises NotifierMisconfigured."""
    made = _class_of(kind)
    known = inspect.signature(made).parameters
    for name, value in options.items():
        if name not in known:
            raise NotifierMisconfigured(f"Option {name!r}: the kind {kind!r} has {', '.join(known) or 'no options'}.")
        default = known[name].default
        if default is not inspect.Parameter.empty and not _fits(value, default):
            raise NotifierMisconfigured(f"Option {name}: expected {_word(default)}, got {value!r}.")
    try:
        return made(**options)
    except TypeError as error:
        raise NotifierMisconfigured(f"The kind {kind!r} cannot be made: {error}.") from None


def _class_of(kind: str) -> Callable[..., Notifier]:
    if kind in _BUILT_IN:
        return _BUILT_IN[kind]
    for point in entry_points(group="serinus.notifiers", name=kind):
        found: Callable[..., Notifier] = point.load()
        return found
    raise NotifierMisconfigured(f"Kind {kind!r}: expected one of {', '.join(kinds())}; or install the package that "
                                "has it.")


def _fits(value: Any, default: Any) -> bool:
    """Whether an option has the type of its default; a whole number is a number."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    wanted = (int, float) if isinstance(default, float) else str if isinstance(default, str) else object
    return isinstance(value, wanted)


def _word(default: Any) -> str:
    return {bool: "true or false", float: "a number"}.get(type(default), "text")
