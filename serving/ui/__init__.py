"""The dashboard at `/ui`: files of ours that a browser loads, and that ask `/api` for everything they show."""

from __future__ import annotations

from serinus.serving.ui.page import Page

__all__ = ["Page"]
