"""YAML that people read: in the order it was written in, long lines whole, a comment at the top."""

from __future__ import annotations

from typing import Any

__all__ = ["yaml_text"]


def yaml_text(document: Any, comment: str = "") -> str:
    """The document as YAML, with the comment's lines before it."""
    import yaml

    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    return head + str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000))
