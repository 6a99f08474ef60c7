"""`serinus demo`: the whole story on real data, by itself, with every claim checked as it is made."""

from serinus.serving.demo.narrator import Narrator
from serinus.serving.demo.story import Scenario, Story

__all__ = ["Narrator", "Scenario", "Story"]
