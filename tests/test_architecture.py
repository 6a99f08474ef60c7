"""The arrows `models <- monitors <- serving`, and the few other rules that the source itself can be asked about.

A rule is a line of data; `violations(root)` reads the source below `root` and returns one sentence per breach. The
second half of the page plants a breach of every rule and expects its sentence.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path

import pytest

PARTS = ("models", "monitors", "serving")
LIBRARY = ("serinus", *PARTS)
HTTP_WORD = re.compile(r"http(?!s?://)|status_?code", re.IGNORECASE)
HTTP_CODES = frozenset(int(status) for status in HTTPStatus)


@dataclass(frozen=True)
class ImportRule:
    """Files of the folders `of` import nothing that matches `banned`, save `allowed`, and save the files `unless`.

    Patterns are shell patterns of dotted names and cover what lies inside: `circus` covers `circus.arbiter`.
    """

    of: tuple[str, ...]
    banned: tuple[str, ...]
    advice: str
    allowed: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    def forbids(self, file: str, name: str) -> bool:
        """Say whether this rule forbids `file` to import `name`."""
        concerned = file.split("/")[0] in self.of and file not in self.unless
        return concerned and _covered(name, self.banned) and not _covered(name, self.allowed)


IMPORT_RULES = (
    ImportRule(
        of=("models",),
        banned=("serinus.monitors", "serinus.serving"),
        advice="`models` says what a model is and knows nothing above it: take the value as an argument, "
        "or compose the two in `serving`",
    ),
    ImportRule(
        of=("monitors",),
        banned=("serinus.models", "serinus.serving"),
        allowed=tuple(f"serinus.models.{name}" for name in ("signature", "version", "model", "card")),
        advice="`monitors` may import serinus.models.{signature,version,model,card} only: name one of these modules "
        "itself, or compose in `serving`",
    ),
    ImportRule(
        of=LIBRARY,
        banned=("bentoml", "_bentoml*", "circus"),
        unless=("serving/service.py", "models/bento.py"),
        advice="BentoML is touched in serving/service.py and models/bento.py only: put a function there and call it",
    ),
    ImportRule(
        of=(*LIBRARY, "tests", "examples"),
        banned=PARTS,
        advice="a bare `models`, `monitors` or `serving` may be the user's own folder: write `serinus.` before it",
    ),
)
DOCUMENTED = LIBRARY
WITHOUT_HTTP = ("models/errors.py", "monitors/errors.py")


@dataclass(frozen=True)
class Source:
    """One parsed file: its path below the root, and its tree."""

    file: str
    tree: ast.Module

    @property
    def package(self) -> list[str]:
        """The dotted package that a relative import in this file starts from."""
        folders = self.file.split("/")[:-1]
        return folders if folders[:1] == ["serinus"] else ["serinus", *folders]


@dataclass(frozen=True)
class Import:
    """One imported name, absolute, and where it stands; `from a import b` is the name `a.b`."""

    name: str
    file: str
    line: int


def _covered(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*") for pattern in patterns)


def sources(root: Path, folders: tuple[str, ...]) -> Iterator[Source]:
    """Parse every Python file below the named folders of `root`."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if not any(part.startswith(".") for part in path.relative_to(root).parts):
                yield Source(path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8"), str(path)))


def imports(source: Source) -> Iterator[Import]:
    """Yield everything a file imports: at the top, inside functions, for type checkers, and by literal name."""
    for node in ast.walk(source.tree):
        for name in _imported_names(node, source.package):
            yield Import(name, source.file, node.lineno)  # type: ignore[attr-defined]


def _imported_names(node: ast.AST, package: list[str]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            base = package[: len(package) - level + 1] if level else []
            start = ".".join([*base, *([module] if module else [])])
            return [start if alias.name == "*" else f"{start}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def forbidden_imports(root: Path) -> Iterator[str]:
    """Yield a sentence for each import that a rule forbids."""
    for rule in IMPORT_RULES:
        for source in sources(root, rule.of):
            for found in imports(source):
                if rule.forbids(found.file, found.name):
                    yield f"{found.file}:{found.line} imports {found.name}. {rule.advice[0].upper()}{rule.advice[1:]}."


def cycles(root: Path) -> Iterator[str]:
    """Yield a sentence if the three parts import one another in a circle, naming an import for each arrow of it."""
    arrows: dict[tuple[str, str], Import] = {}
    for source in sources(root, PARTS):
        for found in imports(source):
            start, end = source.file.split("/")[0], found.name.removeprefix("serinus.").split(".")[0]
            if found.name.startswith("serinus.") and end in PARTS and end != start:
                arrows.setdefault((start, end), found)
    graph = {part: {end for start, end in arrows if start == part} for part in PARTS}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        where = "; ".join(f"{arrows[step].file}:{arrows[step].line}" for step in pairwise(circle))
        yield f"{' -> '.join(circle)} import one another ({where}). The arrows are models <- monitors <- serving."


def undocumented(root: Path) -> Iterator[str]:
    """Yield a sentence for each file without a docstring."""
    for source in sources(root, DOCUMENTED):
        if not ast.get_docstring(source.tree):
            yield f"{source.file} has no docstring. Say in its first line what the file is."


def http_in_errors(root: Path) -> Iterator[str]:
    """Yield a sentence for each status code or HTTP name in a domain's errors; docstrings may say what they like."""
    for file in WITHOUT_HTTP:
        if (root / file).is_file():
            tree = ast.parse((root / file).read_text("utf-8"), file)
            for line, word in _http_words(tree):
                yield f"{file}:{line} says {word!r}. Domain errors know no HTTP: map the class to a status in serving."


def _http_words(tree: ast.Module) -> Iterator[tuple[int, object]]:
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=int(code)) if code in HTTP_CODES:
                yield node.lineno, code
            case ast.Constant(value=str(text)) if id(node) not in prose and HTTP_WORD.search(text):
                yield node.lineno, text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.ClassDef(name=name) if (
                HTTP_WORD.search(name)
            ):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.alias(name=name) if HTTP_WORD.search(name):
                yield node.lineno, name


CHECKS: tuple[Callable[[Path], Iterator[str]], ...] = (forbidden_imports, cycles, undocumented, http_in_errors)


def violations(root: Path) -> list[str]:
    """Return one sentence for every breach of every rule below `root`."""
    return [sentence for check in CHECKS for sentence in check(root)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_checkout_keeps_the_rule(check: Callable[[Path], Iterator[str]], checkout: Path) -> None:
    """Each rule holds for the source as it is."""
    assert list(check(checkout)) == []


def test_the_checker_reads_the_whole_library(checkout: Path) -> None:
    """A rule that looks at no file keeps nothing: each folder of the library has files to look at."""
    assert {source.file.split("/")[0] for source in sources(checkout, LIBRARY)} == set(LIBRARY)


CLEAN = {
    "serinus/__init__.py": '"""The door."""\n',
    "models/card.py": '"""Cards."""\nimport numpy\n',
    "models/bento.py": '"""Exchange with BentoML."""\nimport bentoml\n',
    "models/errors.py": '"""Errors; HTTP is not known here."""\nclass NotTrusted(Exception):\n    """Refused."""\n',
    "monitors/drift.py": '"""Drift."""\nfrom serinus.models.card import Card\nfrom serinus.models import signature\n',
    "serving/service.py": '"""The service."""\nfrom _bentoml_sdk import api\nfrom serinus.monitors import drift\n',
}
PLANTED = {
    "models imports monitors": ("models/a.py", "import serinus.monitors.drift", "models/a.py:2 imports serinus.mon"),
    "models imports serving, late": (
        "models/a.py",
        "def f():\n    from serinus.serving.app import create_app",
        "models/a.py:3 imports serinus.serving.app",
    ),
    "models imports monitors, relatively": ("models/a.py", "from ..monitors import drift", "imports serinus.monitors"),
    "models imports monitors, from a sub-folder": (
        "models/adapters/a.py",
        "from ...monitors.drift import x",
        "imports serinus.monitors.drift.x",
    ),
    "models imports monitors, by name": (
        "models/a.py",
        "import importlib\nimportlib.import_module('serinus.monitors.drift')",
        "imports serinus.monitors.drift",
    ),
    "models imports monitors, by the door": ("models/a.py", "from serinus import monitors", "imports serinus.monitors"),
    "monitors imports the registry": (
        "monitors/a.py",
        "from serinus.models.registry import Registry",
        "serinus.models.{signature,version,model,card} only",
    ),
    "monitors imports the door of models": ("monitors/a.py", "from serinus.models import load", "serinus.models.load"),
    "monitors imports a name that only starts alike": ("monitors/a.py", "import serinus.models.cardinal", "cardinal"),
    "monitors imports serving": ("monitors/a.py", "import serinus.serving", "monitors/a.py:2 imports serinus.serving"),
    "BentoML in a third module": ("serving/app.py", "import bentoml", "BentoML is touched in"),
    "BentoML's inside": ("models/a.py", "from _bentoml_impl.server import serving", "BentoML is touched in"),
    "circus, for a type only": (
        "serving/app.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import circus.arbiter",
        "serving/app.py:4 imports circus.arbiter",
    ),
    "a bare import": ("serving/app.py", "from models import card", "write `serinus.` before it"),
    "a bare import in a test": ("tests/test_a.py", "import monitors.drift", "write `serinus.` before it"),
    "a circle": ("models/a.py", "import serinus.serving.service", "import one another"),
    "no docstring": ("serving/app.py", None, "serving/app.py has no docstring"),
    "a status code in an error": ("models/errors.py", "class A(Exception):\n    code = 404", "errors.py:3 says 404"),
    "a status name in an error": ("monitors/errors.py", "class A(Exception):\n    status_code = None", "'status_code'"),
    "an HTTP import in errors": ("models/errors.py", "from http import HTTPStatus", "map the class to a status"),
    "HTTP in a message": ("models/errors.py", "raise Exception('HTTP 422')", "says 'HTTP 422'"),
}


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write a small tree."""
    for file, text in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, "utf-8")
    return root


def test_a_tree_within_the_rules_has_no_violation(tmp_path: Path) -> None:
    """What the rules allow is not reported: BentoML's two modules, the four names, a docstring that speaks of HTTP."""
    assert violations(plant(tmp_path, CLEAN)) == []


@pytest.mark.parametrize(("file", "code", "sentence"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_breach_is_reported(file: str, code: str | None, sentence: str, tmp_path: Path) -> None:
    """Every rule can fail: one breach in a clean tree is found, and its sentence says where and what to do."""
    text = "x = 1\n" if code is None else f'"""A file."""\n{code}\n'
    found = violations(plant(tmp_path, {**CLEAN, file: text}))
    assert any(sentence in each for each in found), found


def test_a_circle_names_an_import_of_each_arrow(tmp_path: Path) -> None:
    """Who reads the sentence knows which lines to look at."""
    root = plant(tmp_path, {**CLEAN, "models/a.py": '"""A."""\nfrom serinus.monitors import drift\n'})
    (sentence,) = cycles(root)
    assert "models/a.py:2" in sentence and "monitors/drift.py:2" in sentence
