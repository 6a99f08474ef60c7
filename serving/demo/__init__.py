"""`serinus demo`: the whole story on real data, by itself, with every claim checked as it is made."""

from serinus.serving.demo.story import Story

__all__ = ["Story"]
