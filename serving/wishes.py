"""Wishes: what a person loaded or unloaded by hand on one server, beyond its settings. They end with the server.

They lie in one small file of the server's run folder, which every worker looks at together with vetoes and snapshot.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from serinus.serving.errors import SerinusError
from serinus.serving.files import locked, write_atomically

__all__ = ["Wish", "Wishes", "make_wish", "read_wishes"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of one model. `served` False: nothing of it is to stay in memory; None: what the settings say."""

    served: bool | None
    versions: tuple[str, ...] = ()
    """To be loaded besides those that rollouts ask for; they are reached by their own address only."""
    sequence: int = 0
    """When it was last said: of `Wishes.sequence`."""


class Wishes(NamedTuple):
    """All wishes of a server; `sequence` grows with every one, also where it says the same again."""

    sequence: int
    by_model: dict[str, Wish]


def read_wishes(path: Path) -> Wishes:
    """The wishes at `path`; none when there is no file."""
    try:
        stored = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return Wishes(0, {})
    if stored.get("format") != FORMAT:
        raise SerinusError(f"{path} has format {stored.get('format')}, this program reads {FORMAT}: upgrade it.")
    found = {name: Wish(wish["served"], tuple(wish["versions"]), wish["sequence"])
             for name, wish in stored["wishes"].items()}
    return Wishes(stored["sequence"], found)


def make_wish(path: Path, model: str, *, load: bool, version: str | None = None) -> int:
    """Say that `model` (one `version` of it, where given) is to be loaded or unloaded; the new sequence number."""
    with locked(path.with_suffix(".lock")):
        sequence, known = read_wishes(path)
        wish = _changed(known.get(model, Wish(None)), load, version)
        known[model] = Wish(wish.served, wish.versions, sequence + 1)
        write_atomically(path, orjson.dumps({
            "format": FORMAT, "sequence": sequence + 1,
            "wishes": {name: asdict(wish) for name, wish in known.items()}}))
    return sequence + 1


def _changed(wish: Wish, load: bool, version: str | None) -> Wish:
    if version is None:
        return Wish(load, wish.versions if load else ())
    others = tuple(other for other in wish.versions if other != version)
    return Wish(True, (*others, version)) if load else Wish(wish.served, others)
