"""The Bento's entry: `bentoml serve serinus.bento:service`, and the `service:` line of `bentofile.yaml`."""

import sys
from pathlib import Path

import serinus

_root = Path(serinus.__file__).resolve().parent.parent
# In a checkout or a Bento the root holds our own `models/`, which would shadow a user's `models.features`
# in pickles. Moved to the end, not removed: BentoML removes the working directory itself later on.
if (_root / "serving").is_dir():
    for _entry in [p for p in sys.path if p and Path(p).resolve() == _root]:
        sys.path.remove(_entry)
        sys.path.append(_entry)
# Code that a Bento carries for its pickles (`serinus bento build --code`) comes first.
if (_root / "user_code").is_dir():
    sys.path.insert(0, str(_root / "user_code"))

from serinus.serving.service import service  # noqa: E402  (the search path had to be put right first)

__all__ = ["service"]
