"""The aliases of a model: movable names for versions, in one small file beside them."""

import json
from collections.abc import Mapping
from pathlib import Path

from serinus.models.errors import InvalidManifest
from serinus.models.files import write
from serinus.models.version import check_alias, is_number

__all__ = ["read_aliases", "write_aliases"]

FORMAT = 1
FILE = "aliases.json"


def read_aliases(folder: Path) -> dict[str, str]:
    """Give the version number of every alias, sorted by alias; empty where the model has none.

    Raises InvalidManifest where the file is not what `write_aliases` wrote: an alias is never guessed.
    """
    try:
        document = json.loads((folder / FILE).read_bytes())
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, and this Serinus reads {FORMAT}")
        aliases = {check_alias(alias): str(number) for alias, number in document["aliases"].items()}
        if not all(map(is_number, aliases.values())):
            raise ValueError("a version is not a number")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except Exception as error:
        raise InvalidManifest(f"{folder / FILE} cannot be read as aliases ({error}); mend or remove it.") from error
    return dict(sorted(aliases.items()))


def write_aliases(folder: Path, aliases: Mapping[str, str]) -> None:
    """Write all aliases of a model, as one step. The caller holds the model's lock."""
    document = {"format": FORMAT, "aliases": dict(sorted(aliases.items()))}
    write(folder / FILE, json.dumps(document, indent=2).encode() + b"\n")
