"""BentoML: a Bento that holds chosen versions, and its model store, with which versions are exchanged.

A Bento holds the code, a read-only registry pinned by digest, and the user's code:

```
CONTEXT/serinus/ serving/ monitors/ models/     this program, as it lies in a checkout
CONTEXT/bundle/models/NAME/VERSION/…            the chosen versions, as they lie in a home
CONTEXT/bundle/trust.toml                       their digests, where loading runs code and this machine trusts them
CONTEXT/user_code/                              modules that pickles refer to; first on the search path
```

BentoML itself is called as a process of its own: it imports the service from the context, where this process has
imported another copy already.

In BentoML's store a version is a model of `bentoml.sklearn` or `bentoml.onnx`, which load it, and what else is known of
it lies in the sub-folder `serinus`. The store has no digests, takes a prefix for a version and lets half-written ones
be seen, so its folders are looked up by their exact names.
"""

import json
import math
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, NamedTuple

import serinus
from serinus.models.archive import adopt
from serinus.models.card import Card
from serinus.models.errors import ModelError, ModelNotFound, UnsupportedArtifact, VersionNotFound, one_line
from serinus.models.lineage import Lineage
from serinus.models.loading import ARTIFACT, verify
from serinus.models.manifest import MANIFEST, Manifest
from serinus.models.registration import register_file
from serinus.models.registry import Registry
from serinus.models.trust import Trust
from serinus.models.version import ModelVersion

__all__ = ["BentoFailed", "BuiltBento", "build", "export_model", "import_model", "write_context"]

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


def build(versions: Sequence[ModelVersion], *, home: Path, code: Path | None = None,
          packages: Sequence[str] = ()) -> BuiltBento:
    """Build a Bento with exactly these versions of `home`, the modules in `code`, and further `packages`.

    Raises DigestMismatch where a version's files were changed, BentoFailed where BentoML refuses.
    """
    with tempfile.TemporaryDirectory(prefix="serinus-bento-") as folder:
        write_context(Path(folder), versions, home=home, code=code, packages=packages)
        tag = _call_bentoml(Path(folder))
    return BuiltBento(tag, _bentoml_home() / "bentos" / Path(*tag.split(":")), tuple(versions))


def write_context(folder: Path, versions: Sequence[ModelVersion], *, home: Path, code: Path | None = None,
                  packages: Sequence[str] = ()) -> None:
    """Lay out in `folder` what the Bento will hold, `bentofile.yaml` included."""
    _copy_program(folder)
    _copy_versions(folder / "bundle", versions, Trust(home))
    if code is not None:
        if not code.is_dir():
            raise BentoFailed(f"{code}: expected the folder that holds your modules, got none.")
        shutil.copytree(code, folder / "user_code", ignore=_not_users_code)
    # JSON is YAML too, and needs no escaping of our own.
    document = _bentofile(versions, code is not None, packages)
    (folder / "bentofile.yaml").write_text(json.dumps(document, indent=2), "utf-8")


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


def _bentofile(versions: Sequence[ModelVersion], with_code: bool, packages: Sequence[str]) -> dict[str, object]:
    folders = ["serinus", *_PARTS, "bundle", *(["user_code"] if with_code else [])]
    return {
        "service": "serinus.bento:service",
        "name": NAME,
        "description": "Holds " + ", ".join(f"{chosen.tag} ({chosen.digest})" for chosen in versions),
        "labels": {chosen.tag.replace(":", "."): chosen.digest for chosen in versions},
        "include": [f"/{folder}/**" for folder in folders],
        "exclude": ["__pycache__/", "*.py[co]"],
        "python": {"lock_packages": False, "packages": [*requirements(), *packages]},
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


_OURS = "serinus"
"""The sub-folder of a model in BentoML's store that holds manifest and attachments of an exported version."""
_NOT_ARTIFACT = {"model.yaml", "custom_objects.pkl", _OURS}


class _Flavour(NamedTuple):
    """How BentoML's own framework modules keep a model, so that their `load_model` finds it."""

    module: str
    api_version: str
    file: str
    method: str
    libraries: tuple[str, ...]


_SKLEARN = _Flavour("bentoml.sklearn", "v1", "saved_model.pkl", "predict", ("scikit-learn",))
_ONNX = _Flavour("bentoml.onnx", "v2", "saved_model.onnx", "run", ("onnxruntime",))
_PICKLES = {".joblib", ".pkl", ".pickle"}


def export_model(version: ModelVersion) -> str:
    """Put a version into BentoML's store under its own tag, and give that tag.

    Raises DigestMismatch where its files were changed, BentoFailed where BentoML refuses or has another model under
    this tag.
    """
    verify(version)
    there = _store() / version.name / version.version
    if (there / _OURS / MANIFEST).is_file() and _exported(there).version.digest == version.digest:
        return version.tag
    if there.exists():
        raise BentoFailed(f"BentoML's store {_store()} has another {version.tag}; delete it: bentoml models delete "
                          f"{version.tag}")  # fmt: skip
    bentoml = _bentoml()
    try:
        with bentoml.models.create(version.tag, **_facts(version, _flavour(version))) as created:
            _lay_out(version, Path(created.path))
    except (bentoml.exceptions.BentoMLException, ValueError, OSError) as error:
        raise BentoFailed(f"BentoML did not take {version.tag}: {one_line(error)}") from error
    return str(created.tag)


def _facts(version: ModelVersion, flavour: _Flavour | None) -> dict[str, Any]:
    """Give what BentoML keeps of a model in its own words."""
    card = version.card
    facts: dict[str, Any] = {
        "labels": {"digest": version.digest},
        "metadata": {**card.metrics, **{key: value for key, value in card.to_json().items() if isinstance(value, str)}},
    }
    if flavour is None:
        return facts
    libraries = {name: version.libraries[name] for name in flavour.libraries if name in version.libraries}
    context = _bentoml().models.ModelContext(framework_name=version.adapter, framework_versions=libraries)
    return facts | {"module": flavour.module, "api_version": flavour.api_version, "context": context,
                    "signatures": {flavour.method: {"batchable": False}}}  # fmt: skip


def _flavour(version: ModelVersion) -> _Flavour | None:
    if version.adapter == "sklearn":
        return _SKLEARN if Path(version.artifact).suffix in _PICKLES else None
    return _ONNX if version.adapter == "onnx" else None


def _lay_out(version: ModelVersion, folder: Path) -> None:
    """Copy artifact, manifest and attachments, the artifact's main file under the name that BentoML looks for."""
    manifest = Manifest.read(version.path)
    for file in manifest.files:
        _copy_file(version.path / ARTIFACT / file.path, folder / _file_name(version, file.path))
    for name in (MANIFEST, *(file.path for file in manifest.attachments)):
        _copy_file(version.path / name, folder / _OURS / name)


def _file_name(version: ModelVersion, path: str) -> str:
    """Give the name of an artifact's file in BentoML's folder: the main one has that which BentoML looks for."""
    flavour = _flavour(version)
    return flavour.file if flavour is not None and f"{ARTIFACT}/{path}" == version.artifact else path


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def import_model(
    tag: str, *, home: Path, name: str | None = None, trust: Collection[str] = (), command: str | None = None
) -> ModelVersion:
    """Register a model of BentoML's store, under the next version number.

    Args:
        tag: "NAME:VERSION" exactly; without a VERSION, or with `latest`, what BentoML says is the latest.
        home: the registry's folder.
        name: the model's name there; BentoML's where none is given.
        trust: digests that may run code.
        command: what a person runs to import it, for the refusal of what is not trusted.

    Raises:
        ModelNotFound, VersionNotFound: the store has no such model.
        UntrustedArtifact: it runs code when loaded and its digest is not trusted; the message says how.
        UnsupportedArtifact: no adapter accepts it, or it is damaged.
    """
    folder = _exact(tag)
    wanted, version = folder.parent.name, folder.name
    if (folder / _OURS / MANIFEST).is_file():
        return _add_exported(folder, Registry(home), name)
    facts = _read_facts(folder)
    with tempfile.TemporaryDirectory(prefix="serinus-import-") as aside:
        return register_file(
            _artifact(folder, Path(aside) / "model"), name or wanted, home=home, trust=trust, card=_card(facts),
            lineage=Lineage(origin=f"bentoml:{wanted}:{version}"), command=command,
            libraries={str(key): str(value) for key, value in facts.context.framework_versions.items()},
        )  # fmt: skip


def _exact(tag: str) -> Path:
    """Give the folder of a tag. BentoML's own `get` would take `1` for `10` where there is no `1`."""
    name, _, version = tag.partition(":")
    if not re.fullmatch(r"[a-z0-9]([-._a-z0-9]*[a-z0-9])?", name):
        raise ModelNotFound(f"{name!r} is no name in BentoML's store: wanted a-z, 0-9, '.', '_' and '-'.")
    folder = _store() / name
    there = sorted(entry.name for entry in folder.glob("*/") if (entry / "model.yaml").is_file())
    if not there:
        raise ModelNotFound(f"BentoML's store {_store()} has no model {name!r}; see `bentoml models list`.")
    if version in ("", "latest"):
        version = (folder / "latest").read_text().strip() if (folder / "latest").is_file() else ""
    if version not in there:
        raise VersionNotFound(f"BentoML's {name!r} has no version {version!r}; there are {', '.join(there)}.")
    return folder / version


def _read_facts(folder: Path) -> Any:
    """Read a model's `model.yaml`. Raises UnsupportedArtifact where BentoML cannot."""
    try:
        return _bentoml().Model.from_path(folder).info
    except Exception as error:
        raise UnsupportedArtifact(f"BentoML cannot read its model in {folder}: {one_line(error)}") from error


def _artifact(folder: Path, aside: Path) -> Path:
    """Give the model file, or where others lie beside it a folder without what is BentoML's own."""
    files = [path for path in sorted(folder.iterdir()) if path.name not in _NOT_ARTIFACT]
    if len(files) == 1 and files[0].is_file():
        return files[0]
    shutil.copytree(folder, aside, ignore=lambda path, _: _NOT_ARTIFACT if Path(path) == folder else ())
    return aside


def _card(facts: Any) -> Card:
    numbers = {str(key): value for key, value in facts.metadata.items() if type(value) in (int, float)}
    finite = {key: value for key, value in numbers.items() if math.isfinite(value)}
    return Card(metrics=finite, tags=tuple(f"{key}={value}" for key, value in sorted(facts.labels.items())))


def _exported(folder: Path) -> Manifest:
    return Manifest.parse((folder / _OURS / MANIFEST).read_bytes(), folder)


def _add_exported(folder: Path, registry: Registry, name: str | None) -> ModelVersion:
    """Register what `export_model` wrote, with the signature, card and attachments that it had."""
    manifest = _exported(folder)
    with tempfile.TemporaryDirectory(prefix="serinus-import-") as aside:
        for file in manifest.files:
            _copy_file(folder / _file_name(manifest.version, file.path), Path(aside) / ARTIFACT / file.path)
        for file in manifest.attachments:
            _copy_file(folder / _OURS / file.path, Path(aside) / file.path)
        origin = f"bentoml:{folder.parent.name}:{folder.name}"
        return adopt(manifest, Path(aside), registry, name=name, origin=origin)


def _store() -> Path:
    return _bentoml_home() / "models"


def _bentoml() -> Any:
    """Import BentoML, which would tell its makers of every model that is saved."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    import bentoml
    import bentoml.exceptions

    return bentoml
