"""The program that compacts the prediction log and copies its Parquet files elsewhere; the steward starts it.

It is niced like the steward, and rests as long as it works. What Arrow needs of memory is given back when it ends, and
neither a slow disk nor a store that is away holds up anybody else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from serinus.serving.home import Home
from serinus.serving.prediction_log.compaction import compact
from serinus.serving.prediction_log.shipping import ship
from serinus.serving.processes import die_with_parent
from serinus.serving.settings import Settings

__all__ = ["folders", "url_of", "work"]

_LONGEST_REST_S = 0.5


def work(home: Home, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Do what there is to do, and say what was done."""
    began = time.monotonic()

    def breath() -> None:
        nonlocal began
        sleep(min(time.monotonic() - began, _LONGEST_REST_S))
        began = time.monotonic()

    refused: list[str] = []
    done, files, problem = 0, 0, ""
    try:
        for folder in folders(home):
            if settings.log.compact:
                done += compact(folder, breath=breath, refused=lambda path, error: refused.append(
                    f"{path} stays as it is: {error}."))
            if settings.log.url is not None and not problem:
                shipped, problem = ship(folder, url_of(settings.log.url, folder))
                files += shipped
    except OSError as error:
        problem = str(error)
    return {"segments": done, "refused": refused, "files": files, "problem": problem}


def folders(home: Home) -> tuple[Path, Path]:
    """The segments of what callers got, and of what shadows predicted."""
    return home.log, home.shadow_log


def url_of(url: str, folder: Path) -> str:
    """Where a folder's files are copied: what shadows predicted lies apart there too."""
    return f"{url.rstrip('/')}/{'shadow' if folder.name == 'shadow' else 'predictions'}"


class WithoutPandas:
    """Arrow looks for pandas when it makes an array, and loads it; here nobody needs the 50 MB that it takes."""

    def find_spec(self, name: str, *_: Any) -> None:
        """See `importlib.abc.MetaPathFinder`."""
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not wanted here")


def main() -> int:
    """The program: prints what was done as JSON."""
    die_with_parent()
    sys.meta_path.insert(0, WithoutPandas())
    settings = Settings.handed_over()
    sys.stdout.buffer.write(orjson.dumps(work(Home(settings.home), settings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
