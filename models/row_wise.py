"""Whether a model's answer for a row depends on that row alone, so that rows of several requests may share a call."""

from typing import Any

__all__ = ["is_row_wise"]


def is_row_wise(model: Any) -> bool:
    """Ask the model: one that does not say is taken not to be. Adapters set the attribute `row_wise`."""
    return bool(getattr(model, "row_wise", False))
