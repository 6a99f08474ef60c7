"""The report as one HTML page."""

from __future__ import annotations

from serinus.monitors.evaluation.gate import Gate

__all__ = ["page"]


def page(gate: Gate) -> str:
    """Give the page."""
    return f"<!doctype html><title>{gate.evaluated.tag}</title>"
