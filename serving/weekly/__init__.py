"""One model over some days in plain words: is it fine, what changed, what to do.

```
store, journal, prediction log, published monitors ──gather──▶ Facts ──Weekly.of──▶ Weekly ──▶ page, text, JSON
```
"""

from __future__ import annotations

from serinus.serving.weekly.facts import Facts, Quality, gather
from serinus.serving.weekly.page import page
from serinus.serving.weekly.weekly import Change, Line, State, Weekly

__all__ = ["Change", "Facts", "Line", "Quality", "State", "Weekly", "gather", "page"]
