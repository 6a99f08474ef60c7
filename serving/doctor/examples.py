"""Do models load, and answer their own examples as they did when they were registered?

They are tried in another process, which may be slow, heavy, or die of them:

    python -m serinus.serving.doctor.examples HOME TAG …

prints a line of JSON before and after each.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from serinus.models.errors import ModelError
from serinus.models.registry import Registry
from serinus.serving.doctor.check import Check, counted, ok, problem, warning
from serinus.serving.errors import SerinusError
from serinus.serving.home import Home
from serinus.serving.served_models import open_registry, served
from serinus.serving.settings import Settings
from serinus.serving.snapshot import read_snapshot

__all__ = ["look_at_examples", "tried"]

_PATIENCE_S = 120.0
_LEFT_OUT = "left out"


def look_at_examples(settings: Settings, home: Home, *, deep: bool) -> Iterator[Check]:
    """A line for each version that a server would load now; `deep`: of every version of the models it serves."""
    registry = open_registry(settings)
    try:
        tags = list(_wanted(settings, home, registry, deep=deep))
    except (ModelError, SerinusError) as error:
        yield problem("examples", str(error), "A server does not start with it.")
        return
    if tags:
        yield from _in_another_process(home, tags)


def _wanted(settings: Settings, home: Home, registry: Registry, *, deep: bool) -> Iterator[str]:
    records = read_snapshot(home.snapshot).records
    for name, version in served(settings, registry).items():
        every = registry.versions(name)
        if not every:
            registry.get(name)  # whose error lists what there is
        record = records.get(name)
        loaded = {record.stable, record.candidate} if record else {version or next(iter(every), None)}
        yield from (f"{name}:{each}" for each in every if deep or each in loaded)


def _in_another_process(home: Home, tags: Sequence[str]) -> Iterator[Check]:
    command = [sys.executable, "-m", "serinus.serving.doctor.examples", str(home.path), *tags]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL)
        printed, ended = done.stdout, f"the process died with code {done.returncode}{_last_words(done.stderr)}"
    except subprocess.TimeoutExpired as error:
        printed, ended = error.stdout or b"", f"it takes longer than {_PATIENCE_S:g} s"
    lines = [orjson.loads(line) for line in printed.splitlines() if line.startswith(b"{")]
    told = {line["tag"]: Check(*line["check"]) for line in lines if "check" in line}
    left_out = [check for check in told.values() if check.says == _LEFT_OUT]
    yield from (check for check in told.values() if check not in left_out)
    begun = [line["tag"] for line in lines if line["tag"] not in told]
    if begun:
        yield problem("examples", f"{begun[0]} cannot be tried: {ended}.",
                      "A worker that loads it fares no better: look at its libraries, or register it anew.")
        rest = len(tags) - len(told) - 1
        if rest:
            yield warning("examples", f"{counted(rest, 'version')} after it were not tried.", "Look at that one first.")


def _last_words(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""


def tried(registry: Registry, tag: str) -> Check:
    """Load a version and ask it what it was asked when it was registered."""
    from serinus.models.checks import CHECK
    from serinus.models.checks import Check as Kept
    from serinus.models.errors import UntrustedArtifact, one_line
    from serinus.models.examples import example_rows
    from serinus.models.loading import load
    from serinus.models.trust import Trust

    version = registry.get(*tag.split(":"))
    began = time.perf_counter()
    try:
        model = load(version, trust=Trust(registry.home))
    except UntrustedArtifact:
        return warning("examples", _LEFT_OUT, "")  # told under trust
    except Exception as error:
        return problem("examples", f"{tag} cannot be loaded: {one_line(error)}", "It is not served like this.")
    took = f"{tag} loads in {time.perf_counter() - began:.2g} s"
    path = version.path / CHECK
    if path.exists():
        unlike = Kept.from_bytes(path.read_bytes()).difference(model)
        return ok("examples", f"{took} and answers its own example as it did when it was registered.") \
            if unlike is None else problem("examples", f"{took}, and does not answer its own example as it did when it "
                                                       f"was registered: {unlike}.",
                                           "Install the libraries that it was made with, or register it anew.")
    try:
        model.predict(example_rows(version.signature, 1))
    except Exception as error:
        return warning("examples", f"{took}; it keeps no example, and cannot answer a made-up row: {one_line(error)}",
                       "Ask it with a row that it knows.")
    return ok("examples", f"{took} and answers a made-up row; it keeps no example of its own.")


def _main(home: str, *tags: str) -> None:
    import logging

    logging.disable()
    registry = open_registry(Settings(home=Path(home)))
    for tag in tags:
        _print({"tag": tag})
        _print({"tag": tag, "check": list(tried(registry, tag))})


def _print(line: dict[str, object]) -> None:
    sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
