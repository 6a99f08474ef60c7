"""Final truths of predictions, as commands that learn or judge by them read them: nothing provisional, nothing open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serinus.serving.ground_truth.resolution import State, resolve
from serinus.serving.settings import Settings
from serinus.serving.store import Store

__all__ = ["final_truths"]


def final_truths(store: Store, ids: Iterable[str]) -> dict[str, Any]:
    """What is held true of those of the predictions of which something is, by the settings' rule for conflicts."""
    settings = Settings.resolve().ground_truth
    resolved = {name: resolve(rows, settings.conflict, settings.sources)
                for name, rows in store.ground_truth(list(ids)).items()}
    return {name: truth.value for name, truth in resolved.items()
            if truth.state is State.LABELLED and not truth.provisional}
