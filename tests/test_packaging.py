"""What is installed is what is in the checkout: the wheel, the doors, the Bento, and what a start loads."""

import ast
import importlib
import importlib.metadata
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PARTS = ("models", "monitors", "serving")
PROJECT: dict[str, Any] = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text("utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
HEAVY = ("onnxruntime", "pandas", "pyarrow", "scipy", "sklearn")
# Which index packages come from is the machine's business, and never stands in the repository.
REGISTRY = re.compile(r"index[-_]url|find[-_]links|trusted[-_]host|https?://\S+/simple\b|@ https?://")


@pytest.fixture(scope="session")
def bentofile(checkout: Path) -> dict[str, Any]:
    """Return bentofile.yaml."""
    loaded: dict[str, Any] = yaml.safe_load((checkout / "bentofile.yaml").read_text("utf-8"))
    return loaded


@pytest.fixture(scope="session")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel from a copy and return the names of its files; no network if setuptools>=77 is installed."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for folder in ("serinus", *PARTS):
        shutil.copytree(checkout / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / file, copy)
    how = ["--no-isolation"] if _setuptools_is_new_enough() else []
    command = [sys.executable, "-m", "build", "--wheel", *how, "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    (built,) = out.glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


def _setuptools_is_new_enough() -> bool:
    try:
        return Version(importlib.metadata.version("setuptools")) >= Version("77")
    except importlib.metadata.PackageNotFoundError:
        return False


def _modules(checkout: Path) -> list[Path]:
    found = [path for folder in ("serinus", *PARTS) for path in sorted((checkout / folder).rglob("*.py"))]
    return [path.relative_to(checkout) for path in found]


def _installed(path: Path) -> Path:
    return path if path.parts[0] == "serinus" else Path("serinus", path)


def test_every_folder_with_code_is_a_listed_package(checkout: Path) -> None:
    """A folder that pyproject.toml does not list works in a checkout and is missing from the wheel."""
    folders = {".".join(_installed(path).parent.parts) for path in _modules(checkout)}
    assert folders - set(PACKAGES) == set(), "add these to [tool.setuptools] packages in pyproject.toml"


def test_every_listed_package_is_a_folder_with_code(checkout: Path) -> None:
    """A listed package without an __init__.py breaks the build of a fresh clone, where Git keeps no empty folder."""
    with_code = {".".join(_installed(path).parent.parts) for path in _modules(checkout) if path.name == "__init__.py"}
    assert set(PACKAGES) - with_code == set(), "give each an __init__.py, or take it out of pyproject.toml"


def test_the_wheel_holds_every_module(wheel: set[str], checkout: Path) -> None:
    """Who installs from PyPI gets what the tests saw."""
    assert {_installed(path).as_posix() for path in _modules(checkout)} - wheel == set()


def test_the_wheel_holds_the_dashboard(wheel: set[str], checkout: Path) -> None:
    """Its files are no modules; forgotten, `/ui` works in a checkout only."""
    files = [path for path in (checkout / "serving" / "ui" / "static").rglob("*") if path.is_file()]
    assert files and {_installed(path.relative_to(checkout)).as_posix() for path in files} - wheel == set()


def test_the_wheel_is_typed(wheel: set[str]) -> None:
    """The user's type checker believes our annotations only beside a py.typed."""
    assert {f"serinus/{folder}py.typed" for folder in ("", "models/", "monitors/", "serving/")} - wheel == set()


def test_the_wheel_puts_one_name_at_the_top(wheel: set[str]) -> None:
    """A top-level `models`, `monitors`, `serving` or `tests` would shadow the user's own."""
    metadata = f"serinus-{importlib.import_module('serinus').__version__}.dist-info"
    assert {name.split("/")[0] for name in wheel} == {"serinus", metadata}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_door_is_sorted_and_true(package: str) -> None:
    """`__all__` is in the linter's order (constants, classes, the rest), and whatever it names is there."""
    door = importlib.import_module(package)
    names: list[str] | None = getattr(door, "__all__", None)
    if names is None:
        assert _only_speaks(Path(door.__file__ or "")), f"{door.__file__} offers names: list them in __all__"
        return
    assert names == sorted(names, key=_door_order)
    assert [name for name in names if not hasattr(door, name)] == []


def _only_speaks(path: Path) -> bool:
    """Say whether a module is nothing but its docstring."""
    return path.is_file() and all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text("utf-8")).body)


def _door_order(name: str) -> tuple[int, list[tuple[int, str]]]:
    kind = 0 if len(name) > 1 and name.isupper() else 1 if name[0].isupper() else 2
    return kind, [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def test_the_bento_is_not_named_like_the_package(bentofile: dict[str, Any]) -> None:
    """BentoML looks for a module of the Bento's name first, and would serve the installed package instead."""
    assert bentofile["name"] not in {"serinus", *PARTS}


def test_the_bento_includes_are_anchored_and_complete(bentofile: dict[str, Any], checkout: Path) -> None:
    """An unanchored pattern matches at any depth, and a folder left out is missing from the Bento."""
    include: list[str] = bentofile["include"]
    assert [pattern for pattern in include if not pattern.startswith("/")] == []
    assert {f"/{folder}/**" for folder in ("serinus", *PARTS)} <= set(include)
    assert [pattern for pattern in include if not (checkout / pattern.strip("/*")).exists()] == []


def test_the_bento_requires_what_the_package_requires(bentofile: dict[str, Any]) -> None:
    """Two lists of dependencies drift apart; BentoML adds itself, in the version that built the Bento."""
    wanted = dict(map(_normalised, PROJECT["project"]["dependencies"]))
    del wanted["bentoml"]
    assert dict(map(_normalised, bentofile["python"]["packages"])) == wanted


def _normalised(line: str) -> tuple[str, tuple[frozenset[str], frozenset[str]]]:
    """Return name, extras and bounds; without the marker, since a Bento is built for one platform."""
    requirement = Requirement(line)
    bounds = frozenset(map(str, requirement.specifier))
    return canonicalize_name(requirement.name), (frozenset(requirement.extras), bounds)


@pytest.mark.parametrize(
    "start",
    [
        "import serinus.bento",
        "import runpy, contextlib\n"
        "sys.argv = ['serinus', '--help']\n"
        "with contextlib.suppress(SystemExit): runpy.run_module('serinus', run_name='__main__')",
    ],
    ids=["serinus.bento", "serinus --help"],
)
def test_a_start_loads_no_heavy_library(start: str, checkout: Path) -> None:
    """The supervisor imports the service too, and a command answers at once: models load where they are used."""
    report = f"print('loaded:', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{start}\n{report}"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=checkout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]


def test_every_command_of_the_readme_exists(checkout: Path) -> None:
    """Every `serinus …` line of the README parses, options included: the command itself says so through --help."""
    commands = _readme_commands((checkout / "README.md").read_text("utf-8"))
    assert commands, "README.md shows no serinus command in a code block"
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "serinus", *words, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=checkout,
        )
        assert done.returncode == 0, f"serinus {shlex.join(words)}: {done.stderr[-500:]}"


def _readme_commands(text: str) -> list[list[str]]:
    """Return the words after `serinus` of each such command in the shell blocks, prompts and pipes taken away."""
    blocks = re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in re.split(r"&&|\|\||[|;&]", line.removeprefix("$ "))]
    whole = [part for part in parts if part.count("'") % 2 == 0 and part.count('"') % 2 == 0]
    words = [shlex.split(part, comments=True) for part in whole]
    return [each[1:] for each in words if each and Path(each[0]).name == "serinus"]


def test_the_readme_reader_finds_commands() -> None:
    """Prompts, comments, pipes, continued lines and paths to the program do not hide a command."""
    text = "serinus no\n```bash\n$ .venv/bin/serinus serve m.onnx \\\n  --port 1 & # go\ncurl x | serinus log\n```\n"
    assert _readme_commands(text) == [["serve", "m.onnx", "--port", "1"], ["log"]]


def test_no_file_names_a_registry_host(checkout: Path) -> None:
    """Whoever builds this decides where packages come from."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=checkout, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a Git checkout")
    files = [checkout / name for name in listed.stdout.split("\0") if name and (checkout / name).is_file()]
    texts = {file: file.read_bytes().decode("utf-8", "ignore") for file in files}
    assert [f"{file.name}: {found[0]}" for file, text in texts.items() if (found := REGISTRY.search(text))] == []
