"""Building a Bento that holds chosen versions: the code, a read-only registry pinned by digest, and the user's code.

```
CONTEXT/serinus/ serving/ monitors/ models/     this program, as it lies in a checkout
CONTEXT/bundle/models/NAME/VERSION/…            the chosen versions, as they lie in a home
CONTEXT/bundle/trust.toml                       their digests, where loading runs code and this machine trusts them
CONTEXT/user_code/                              modules that pickles refer to; first on the search path
```

BentoML itself is called as a process of its own: it imports the service from the context, where this process has
imported another copy already.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import serinus
from serinus.models.errors import ModelError, one_line
from serinus.models.loading import verify
from serinus.models.trust import Trust
from serinus.models.version import ModelVersion

__all__ = ["BentoFailed", "BuiltBento", "build", "write_context"]

NAME = "serinus_service"
_PARTS = ("models", "monitors", "serving")
_NOT_CODE = shutil.ignore_patterns("__pycache__", "*.py[co]", ".*", "*.egg-info", "node_modules")
_LIBRARIES = ("joblib", "numpy", "onnxruntime", "pandas", "scikit-learn", "scipy", "skops")
_TOKEN = re.compile(r"^__tag__:(\S+)$", re.MULTILINE)


class BentoFailed(ModelError):
    """A Bento could not be built."""


class BuiltBento(NamedTuple):
    """A Bento in BentoML's store: its tag, its folder, and the versions it holds."""

    tag: str
    path: Path
    versions: tuple[ModelVersion, ...]


def build(versions: Sequence[ModelVersion], *, home: Path, code: Path | None = None) -> BuiltBento:
    """Build a Bento with exactly these versions of `home`, and the modules in `code`.

    Raises DigestMismatch where a version's files were changed, BentoFailed where BentoML refuses.
    """
    with tempfile.TemporaryDirectory(prefix="serinus-bento-") as folder:
        write_context(Path(folder), versions, home=home, code=code)
        tag = _call_bentoml(Path(folder))
    return BuiltBento(tag, _bentoml_home() / "bentos" / Path(*tag.split(":")), tuple(versions))


def write_context(folder: Path, versions: Sequence[ModelVersion], *, home: Path, code: Path | None = None) -> None:
    """Lay out in `folder` what the Bento will hold, `bentofile.yaml` included."""
    _copy_program(folder)
    _copy_versions(folder / "bundle", versions, Trust(home))
    if code is not None:
        if not code.is_dir():
            raise BentoFailed(f"{code}: expected the folder that holds your modules, got none.")
        shutil.copytree(code, folder / "user_code", ignore=_not_users_code)
    # JSON is YAML too, and needs no escaping of our own.
    (folder / "bentofile.yaml").write_text(json.dumps(_bentofile(versions, code is not None), indent=2), "utf-8")


def requirements() -> list[str]:
    """What this program needs, without BentoML, which adds itself in the version that builds."""
    project = _root() / "pyproject.toml"
    if project.is_file():
        lines = tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"]
    else:
        try:
            lines = [line for line in requires("serinus") or [] if "extra ==" not in line]
        except PackageNotFoundError:
            raise BentoFailed(
                f"What Serinus needs cannot be told: {_root()} holds no pyproject.toml and no distribution named "
                "serinus is installed. Install it, or build from a checkout."
            ) from None
    plain = [line.partition(";")[0].strip() for line in lines]  # a Bento is built for one platform
    return [_pinned(line) for line in plain if not re.match(r"bentoml\b", line)]


def _pinned(line: str) -> str:
    """Fix a library that artifacts depend on to the installed version: others may not read them, or answer unlike."""
    name = re.split(r"[^A-Za-z0-9._-]", line)[0]
    return f"{name}=={version(name)}" if name in _LIBRARIES else line


def _root() -> Path:
    return Path(serinus.__file__).resolve().parent.parent


def _copy_program(folder: Path) -> None:
    """Copy the four folders, side by side as in a checkout, wherever this program runs from."""
    door = Path(serinus.__file__).resolve().parent
    shutil.copytree(
        door, folder / "serinus", ignore=lambda path, names: {*_NOT_CODE(path, names), *_parts_in(door, path)}
    )
    for part in _PARTS:
        inside = door / part
        shutil.copytree(inside if inside.is_dir() else door.parent / part, folder / part, ignore=_NOT_CODE)


def _parts_in(door: Path, path: str) -> Iterator[str]:
    return (part for part in _PARTS if Path(path) == door)


def _copy_versions(bundle: Path, versions: Sequence[ModelVersion], trust: Trust) -> None:
    kept = Trust(bundle)
    for chosen in versions:
        verify(chosen)
        shutil.copytree(chosen.path, bundle / "models" / chosen.name / chosen.version)
        if chosen.digest in trust:
            kept.remember(chosen.digest, f"trusted where {chosen.tag} was put into this Bento")
    for path in bundle.rglob("*"):
        if path.is_file():  # nobody writes to it, and a container's user can read it
            path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    (bundle / "trust.lock").unlink(missing_ok=True)


def _not_users_code(path: str, names: list[str]) -> set[str]:
    """Name what is no code: caches, dot-files and virtual environments."""
    environments = {name for name in names if (Path(path) / name / "pyvenv.cfg").is_file()}
    return {*_NOT_CODE(path, names), *environments}


def _bentofile(versions: Sequence[ModelVersion], with_code: bool) -> dict[str, object]:
    folders = ["serinus", *_PARTS, "bundle", *(["user_code"] if with_code else [])]
    return {
        "service": "serinus.bento:service",
        "name": NAME,
        "description": "Holds " + ", ".join(f"{chosen.tag} ({chosen.digest})" for chosen in versions),
        "labels": {chosen.tag.replace(":", "."): chosen.digest for chosen in versions},
        "include": [f"/{folder}/**" for folder in folders],
        "exclude": ["__pycache__/", "*.py[co]"],
        "python": {"lock_packages": False, "packages": requirements()},
    }


def _call_bentoml(context: Path) -> str:
    # `no_image`: the layout whose Dockerfile needs neither uv nor a package index at build time.
    environ = {"BENTOML_ENABLE_FEATURES": "no_image", "BENTOML_DO_NOT_TRACK": "true", **os.environ}
    for name in [name for name in environ if name.startswith("SERINUS_")]:
        del environ[name]  # a setting of this machine does not belong in the Bento, and may not even be valid there
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag", str(context)],
        cwd=context, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    found = _TOKEN.search(done.stdout)
    if done.returncode or found is None:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise BentoFailed(f"BentoML could not build the Bento: {one_line(Exception(' '.join(lines[-3:])))}")
    return found[1]


def _bentoml_home() -> Path:
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").expanduser().absolute()

