"""The contract of an adapter as a suite that anybody can run: `check_adapter` tries every rule on a real model.

A rule is a function that yields one (holds, sentence) per check; the first that does not hold is raised with its
sentence, and the report counts the rest. A rule that cannot apply says why, and the report repeats it.
"""

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serinus.models.adapters import adapters
from serinus.models.errors import InvalidInput, UnknownOutput, UnsupportedArtifact, one_line
from serinus.models.model import Adapter, Model
from serinus.models.signature import Signature, element_of

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["RULES", "ContractBroken", "Coverage", "check_adapter"]

Arrays = Mapping[str, NDArray[Any]]
Checks = Iterator[tuple[bool, str]]

_FRAMEWORKS = ("catboost", "joblib", "lightgbm", "onnx", "onnxruntime", "pandas", "pyarrow", "scipy", "skops",
               "sklearn", "tensorflow", "torch", "xgboost")  # fmt: skip
_THREADS = 8
_CALLS = 20
_CUTS = 32
_LONGEST = 2000
"""Characters of a refusal; a longer one is a dump, not a sentence."""


class ContractBroken(AssertionError):
    """An adapter breaks a rule of the contract.

    Attributes:
        rule: the rule's name, one of `RULES`.
    """

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule


@dataclass(frozen=True)
class Coverage:
    """What `check_adapter` looked at.

    Attributes:
        adapter: the adapter's name.
        checks: how many checks each rule made, by the rule's name.
        left_out: the rules that did not apply, and why.
    """

    adapter: str
    checks: Mapping[str, int]
    left_out: Mapping[str, str]

    @property
    def total(self) -> int:
        """How many checks were made."""
        return sum(self.checks.values())

    def __str__(self) -> str:
        lines = [f"{self.adapter}: {self.total} checks of {len(self.checks)} rules held"]
        lines += [f"  {rule}: {count}" for rule, count in self.checks.items()]
        return "\n".join(lines + [f"  {rule}: left out, {why}" for rule, why in self.left_out.items()])


class _NotApplicable(Exception):
    """The rule has nothing to look at; the text says why."""


@dataclass(frozen=True)
class _Case:
    """One adapter with one fitted object, rows to ask it, and a folder to write into."""

    adapter: Adapter
    fitted: Any
    rows: Arrays
    signature: Signature
    given: Signature | None
    reference: "DataFrame | None"
    folder: Path
    tolerance: float

    @cached_property
    def model(self) -> Model:
        return self.adapter.wrap(self.fitted, self.signature)

    @cached_property
    def answers(self) -> dict[str, NDArray[Any]]:
        return self.ask()

    def ask(
        self, rows: Arrays | None = None, outputs: Sequence[str] | None = None, *, model: Model | None = None
    ) -> dict[str, NDArray[Any]]:
        """Predict, with copies: no rule suffers from what a model does to its inputs."""
        return (model or self.model).predict(_copies(self.rows if rows is None else rows), outputs)

    @cached_property
    def artifact(self) -> Path:
        """The saved model, moved to where it was not written, alone: as a registry keeps it."""
        folder, elsewhere = _new(self.folder, "saved"), _new(self.folder, "moved")
        try:
            saved = self.adapter.save(self.fitted, folder)
        except UnsupportedArtifact as refusal:
            raise _NotApplicable(f"the adapter keeps no files: {one_line(refusal)}") from None
        except Exception as error:
            raise ContractBroken("round trip", f"save raised {_told(error)}.") from error
        if not isinstance(saved, Path) or not saved.is_file() or saved.parent != folder:
            raise ContractBroken("round trip", f"save must give the path of a file in the folder it got, got {saved}.")
        return saved.rename(elsewhere / saved.name)

    def agree(self, one: Arrays, other: Arrays) -> bool:
        """Tell whether two answers are the same: numbers within the tolerance, everything else exactly."""
        return one.keys() == other.keys() and all(_equal(one[name], other[name], self.tolerance) for name in one)


def check_adapter(
    adapter: Adapter,
    fitted: Any,
    rows: Arrays,
    *,
    signature: Signature | None = None,
    reference: "DataFrame | None" = None,
    tolerance: float = 1e-5,
) -> Coverage:
    """Try every rule that an adapter must keep on one fitted model.

    Args:
        adapter: the adapter.
        fitted: a fitted object of its framework, which it owns.
        rows: an array per input, with three rows or more that differ and that the model can answer.
        signature: the model's signature where the adapter cannot infer one.
        reference: handed to `infer_signature`.
        tolerance: how far numbers may be apart, relative and absolute, between one row alone and among others.

    Returns:
        What was looked at, and which rules did not apply.

    Raises:
        ContractBroken: the first rule that is broken, in a sentence.
        ValueError: `rows` cannot be used: the mistake is the caller's.
    """
    with tempfile.TemporaryDirectory() as folder:
        case = _Case(adapter, fitted, rows, _signature(adapter, fitted, signature, reference), signature, reference,
                     Path(folder), tolerance)  # fmt: skip
        _check_rows(case)
        checks: dict[str, int] = {}
        left_out: dict[str, str] = {}
        for name, rule in _RULES.items():
            try:
                checks[name] = _count(name, rule(case))
            except _NotApplicable as why:
                left_out[name] = str(why)
    return Coverage(adapter.name, checks, left_out)


def _signature(
    adapter: Adapter, fitted: Any, given: Signature | None, reference: "DataFrame | None"
) -> Signature:
    try:
        found = given or adapter.infer_signature(fitted, reference)
    except Exception as error:
        raise ContractBroken("signature", f"infer_signature raised {_told(error)}; or give signature=.") from error
    if not isinstance(found, Signature):
        raise ContractBroken("signature", f"infer_signature must give a Signature, got {type(found).__name__}.")
    return found


def _check_rows(case: _Case) -> None:
    names = [field.name for field in case.signature.inputs if not field.sequence]
    missing = [name for name in names if name not in case.rows]
    if missing:
        raise ValueError(f"rows must hold an array for every input; {', '.join(missing)} are missing.")
    if _is_by_row(case.signature) and any(len(case.rows[name]) < 3 for name in names):
        raise ValueError("rows must hold three rows or more, so that one and many can be told apart.")


def _count(name: str, checks: Checks) -> int:
    count = 0
    try:
        for holds, sentence in checks:
            if not holds:
                raise ContractBroken(name, sentence)
            count += 1
    except (ContractBroken, _NotApplicable):
        raise
    except Exception as error:
        raise ContractBroken(name, f"after {count} checks that held, {_told(error)}.") from error
    if not count:
        raise _NotApplicable("nothing in this signature that it could be tried on")
    return count


# The rules, in the order in which they are tried.


def _identity(case: _Case) -> Checks:
    """The name can stand in a manifest, and the class is made without arguments, as entry points are."""
    name = case.adapter.name
    yield (
        isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) is not None,
        f"an adapter's name is lower-case letters, digits, '.', '_' and '-', got {name!r}.",
    )
    made = _failure(lambda: type(case.adapter)())
    yield made is None, f"{type(case.adapter).__name__}() must make the adapter, and raised {_told(made)}."


def _owns(case: _Case) -> Checks:
    """The adapter knows its own objects, and leaves others alone."""
    yield case.adapter.owns(case.fitted) is True, f"owns must be True for its own {type(case.fitted).__name__}."
    strangers: list[object] = [None, 3, "text", {}, [], object()]
    if type(case.fitted).__module__ != "builtins":
        strangers.append(type(case.fitted))
    for stranger in strangers:
        yield case.adapter.owns(stranger) is False, f"owns must be False for {stranger!r}, which is no fitted model."
    for other in _asked_before(case.adapter):
        yield (
            not other.owns(case.fitted),
            f"the adapter {other.name!r} is asked first and owns {type(case.fitted).__name__} too.",
        )


def _accepts(case: _Case) -> Checks:
    """The adapter knows its own files by content or suffix, and leaves those of others alone."""
    for file in _strangers(case):
        yield case.adapter.accepts(file) is False, f"accepts must be False for {file.name}, which is no such model."
    artifact = _artifact_if_any(case)
    if artifact is None:
        return
    yield case.adapter.accepts(artifact) is True, f"accepts must be True for its own {artifact.name}."
    for other in _asked_before(case.adapter):
        yield not other.accepts(artifact), f"the adapter {other.name!r} is asked first and accepts {artifact.name} too."


def _honest(case: _Case) -> Checks:
    """`runs_code` is a plain bool, known before anything is read, and False only where no file can run code."""
    artifact = case.artifact
    answer = case.adapter.runs_code(artifact)
    yield isinstance(answer, bool), f"runs_code must give a bool, got {answer!r}."
    yield case.adapter.runs_code(artifact) is answer, "runs_code must give the same for the same file."
    if answer:
        why = case.adapter.why_code(artifact)
        yield _is_sentence(why), f"why_code must be the middle of a sentence, got {why!r}."
        return
    events = _code_events(lambda: case.adapter.read(artifact))
    yield not events, f"runs_code is False, and reading {artifact.name} raised the audit event {', '.join(events)}."
    yield not _springs(case, artifact), (
        f"runs_code is False for a pickle named {artifact.name}, and reading it ran the pickle's code."
    )


def _round_trip(case: _Case) -> Checks:
    """A saved model, read again elsewhere, is owned and gives identical answers."""
    again = case.adapter.read(case.artifact)
    yield case.adapter.owns(again) is True, f"owns must be True for what read gives, a {type(again).__name__}."
    wrapped = case.ask(model=case.adapter.wrap(again, case.signature))
    yield case.agree(wrapped, case.answers), "wrap(read(save(fitted))) must answer like wrap(fitted)."
    loaded = case.ask(model=case.adapter.load(case.artifact, case.signature))
    yield case.agree(loaded, case.answers), "load(save(fitted)) must answer like wrap(fitted)."
    if case.given is None:
        found = case.adapter.infer_signature(again, case.reference)
        yield found == case.signature, "infer_signature must give the same for what read gives as for the original."


def _signature_rule(case: _Case) -> Checks:
    """The signature has outputs, survives JSON, is inferred alike each time, and a given one is kept."""
    found = case.signature
    yield bool(found.outputs), "a signature must have at least one output."
    text = json.dumps(found.to_json(), allow_nan=False)
    yield Signature.from_json(json.loads(text)) == found, "the signature must be the same after a way through JSON."
    yield case.model.signature == found, "wrap must keep the signature that it is given."
    if case.given is None:
        yield case.adapter.infer_signature(case.fitted, case.reference) == found, "infer_signature must repeat itself."
        yield case.adapter.wrap(case.fitted).signature.outputs != (), "wrap must work without a signature."


def _by_name(case: _Case) -> Checks:
    """Inputs are taken by name: in any order, among others, read-only, unharmed, as columns of either shape."""
    backwards = dict(reversed(list(case.rows.items())))
    yield case.agree(case.ask(backwards), case.answers), "the order of the inputs must not matter."
    rows = next((array.shape[0] for array in case.rows.values() if array.ndim), 1)
    more = {**case.rows, "serinus unknown input": np.zeros(rows)}
    yield case.agree(case.ask(more), case.answers), "inputs that the model does not know must be ignored."
    locked = {name: _locked_copy(array) for name, array in case.rows.items()}
    yield case.agree(case.model.predict(locked), case.answers), "read-only arrays must be answered: requests are."
    copies = _copies(case.rows)
    case.model.predict(copies)
    yield case.agree(copies, case.rows), "predict must not change the arrays that it is given."
    turned = {name: _turned(case.signature, name, array) for name, array in case.rows.items()}
    if any(turned[name] is not case.rows[name] for name in turned):
        yield case.agree(case.ask(turned), case.answers), "a column may come as [k] and as [k, 1]."


def _missing(case: _Case) -> Checks:
    """A required input that is missing is InvalidInput; an optional one may be left out."""
    for field in case.signature.inputs:
        if field.sequence:
            continue
        rest = {name: array for name, array in case.rows.items() if name != field.name}
        error = _failure(partial(case.ask, rest))
        if not field.optional:
            yield _refuses(error, InvalidInput), _wanted("InvalidInput", f"without the input {field.name!r}", error)
        elif rest:
            yield error is None, f"{field.name!r} is optional, and without it predict raised {_told(error)}."


def _misfits(case: _Case) -> Checks:
    """Arrays that do not fit the signature are InvalidInput: words for numbers, other widths, unequal lengths."""
    for what, rows in _misfitting(case):
        error = _failure(partial(case.ask, rows))
        yield _refuses(error, InvalidInput), _wanted("InvalidInput", f"for {what}", error)


def _outputs(case: _Case) -> Checks:
    """Exactly the outputs that are asked for come back; an unknown one is UnknownOutput."""
    names = [field.name for field in case.signature.outputs if not field.sequence]
    yield set(names) <= case.answers.keys(), f"predict must give {', '.join(names)}, got {', '.join(case.answers)}."
    for name in names:
        alone = case.ask(outputs=[name])
        yield list(alone) == [name], f"asked for {name!r} alone, predict gave {', '.join(alone) or 'nothing'}."
        yield case.agree(alone, {name: case.answers[name]}), f"{name!r} must be the same alone and among others."
    error = _failure(partial(case.ask, outputs=["serinus unknown output"]))
    yield _refuses(error, UnknownOutput), _wanted("UnknownOutput", "for an output that it does not have", error)


def _datatypes(case: _Case) -> Checks:
    """Answers have the datatypes and shapes of the signature."""
    fields = {field.name: field for field in case.signature.outputs}
    for name, array in case.answers.items():
        element = element_of(name)
        field = fields[element[0] if element and name not in fields else name]
        yield isinstance(array, np.ndarray), f"{name!r} must be an array, got {type(array).__name__}."
        yield array.dtype == field.dtype, f"{name!r} must be {field.datatype}, got an array of {array.dtype}."
        yield _fits(array.shape, field.shape), f"{name!r} must have shape {list(field.shape)}, got {list(array.shape)}."
        if field.datatype == "BYTES":
            yield _only_texts(array), f"{name!r} must hold str (None where missing) and nothing else."
    if _is_by_row(case.signature):
        rows = len(next(iter(case.rows.values())))
        lengths = {name: len(array) for name, array in case.answers.items()}
        yield set(lengths.values()) == {rows}, f"{rows} rows must be answered by {rows}, got {lengths}."


def _one_and_many(case: _Case) -> Checks:
    """A row has the same answer alone and among others."""
    _need_rows(case)
    for row in range(min(len(next(iter(case.rows.values()))), 16)):
        alone = case.ask(_slice(case.rows, row))
        among = _slice(case.answers, row)
        yield case.agree(alone, among), f"row {row} is answered {_shown(alone)} alone and {_shown(among)} among others."


def _several_threads(case: _Case) -> Checks:
    """Several threads at once get the answers that each would get by itself."""
    rolls = [_rolled(case.rows, place if _is_by_row(case.signature) else 0) for place in range(_THREADS)]
    expected = [case.ask(rows) for rows in rolls]
    start = threading.Barrier(_THREADS)

    def answers(place: int) -> list[dict[str, NDArray[Any]]]:
        start.wait(30)
        return [case.ask(rolls[place]) for _ in range(_CALLS)]

    with _switching_often(), ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(answers, range(_THREADS)))
    for place, several in enumerate(found):
        same = all(case.agree(answer, expected[place]) for answer in several)
        yield same, f"of {_THREADS} threads at once, one got answers that it does not get by itself."


def _close(case: _Case) -> Checks:
    """Closing a model gives nothing, and leaves other models of the same object at work."""
    made = [case.adapter.wrap(case.fitted, case.signature) for _ in range(2)]
    case.ask(model=made[0])
    yield made[0].close() is None, "close must return None."  # type: ignore[func-returns-value]
    yield case.agree(case.ask(model=made[1]), case.answers), "closing one model must leave another at work."


def _damaged(case: _Case) -> Checks:
    """An empty, shortened or foreign file under the artifact's name is UnsupportedArtifact in one sentence."""
    artifact = case.artifact
    content = artifact.read_bytes()
    folder = _new(case.folder, "damaged")
    # Native readers may run beyond the end of a file, and take the process with them: another one goes first.
    length = _deadly(case.adapter, artifact.name, content, folder)
    yield length is None, f"reading a file cut short after {length} of {len(content)} bytes ended the process."
    for what, damaged in _damages(content):
        path = folder / artifact.name
        path.write_bytes(damaged)
        answer = case.adapter.accepts(path)
        yield isinstance(answer, bool), f"accepts must give a bool for a file that is {what}, got {answer!r}."
        code = _failure(partial(case.adapter.runs_code, path))
        yield code is None or _refuses(code, UnsupportedArtifact), _wanted("a bool", f"of a file that is {what}", code)
        error = _failure(partial(case.adapter.read, path))
        harmless = error is None and len(damaged) == len(content) - 1 and _answers_alike(case, path)
        yield harmless or _refuses(error, UnsupportedArtifact), _wanted(
            "UnsupportedArtifact", f"from read for a file that is {what}", error
        )
        yield harmless or _is_sentence(str(error)), f"read must say in one line that a file is {what}: {_told(error)}"
        yield harmless or artifact.name in str(error), f"read must name the file that is {what}: {_told(error)}"


def _cheap_import(case: _Case) -> Checks:
    """Importing the module, and asking what a file is, load no framework."""
    own = {_top(kind) for kind in type(case.adapter).__mro__}
    heavy = {*_FRAMEWORKS, _top(type(case.fitted))} - own - {"serinus", "numpy"} - sys.stdlib_module_names
    at_import, later = _loaded(case.adapter, str(_artifact_if_any(case) or ""), sorted(heavy))
    for step, loaded in (("importing its module", at_import), ("accepts and runs_code", later)):
        yield not loaded, f"{step} must load no framework, and loaded {', '.join(loaded)}; import inside methods."


_RULES: dict[str, Callable[[_Case], Checks]] = {
    "identity": _identity,
    "owns": _owns,
    "accepts": _accepts,
    "honest about code": _honest,
    "signature": _signature_rule,
    "round trip": _round_trip,
    "inputs by name": _by_name,
    "missing inputs": _missing,
    "misfitting inputs": _misfits,
    "outputs": _outputs,
    "datatypes": _datatypes,
    "one row and many": _one_and_many,
    "threads": _several_threads,
    "close": _close,
    "damaged files": _damaged,
    "cheap import": _cheap_import,
}
RULES = tuple(_RULES)
"""The names of all rules, in the order in which they are tried."""


# What the rules look with.


def _told(error: Exception | None) -> str:
    return "nothing" if error is None else f"{type(error).__name__}: {one_line(error)}"


def _failure(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def _refuses(error: Exception | None, kind: type[Exception]) -> bool:
    return isinstance(error, kind)


def _wanted(kind: str, when: str, error: Exception | None) -> str:
    return f"wanted {kind} {when}, got {_told(error)}."


def _is_sentence(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip()) and "\n" not in text and len(text) <= _LONGEST


def _is_by_row(signature: Signature) -> bool:
    fields = (*signature.inputs, *signature.outputs)
    return bool(signature.inputs) and all(field.shape[:1] == (-1,) and not field.sequence for field in fields)


def _need_rows(case: _Case) -> None:
    if not _is_by_row(case.signature):
        raise _NotApplicable("the first dimension of some field is not the rows")


def _equal(one: NDArray[Any], other: NDArray[Any], tolerance: float) -> bool:
    if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        return False
    if one.dtype.kind == "f":
        return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True))
    both = zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)
    return all(a == b or (a != a and b != b) for a, b in both)


def _new(folder: Path, name: str) -> Path:
    return Path(tempfile.mkdtemp(dir=folder, prefix=f"{name}-"))


def _artifact_if_any(case: _Case) -> Path | None:
    try:
        return case.artifact
    except _NotApplicable:
        return None


def _top(kind: type) -> str:
    return kind.__module__.partition(".")[0]


_LOOK = """
import importlib, json, sys
from pathlib import Path
module, name, artifact, *heavy = sys.argv[1:]
adapter = getattr(importlib.import_module(module), name)
at_import = sorted(set(heavy) & set(sys.modules))
if artifact:
    adapter().accepts(Path(artifact)), adapter().runs_code(Path(artifact))
print(json.dumps([at_import, sorted(set(heavy) & set(sys.modules))]))
"""


def _loaded(adapter: Adapter, artifact: str, heavy: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell which of `heavy` a new process has loaded after importing the adapter, and after asking about a file."""
    done = _new_process(adapter, _LOOK, artifact, *heavy)
    at_import, later = json.loads(done.stdout.splitlines()[-1])
    return at_import, later


_READ = """
import contextlib, importlib, sys
from pathlib import Path
module, name, path, content, *lengths = sys.argv[1:]
adapter, path, content = getattr(importlib.import_module(module), name)(), Path(path), Path(content).read_bytes()
for length in map(int, lengths):
    path.write_bytes(content[:length])
    print("reading", length, flush=True)
    with contextlib.suppress(Exception):
        adapter.read(path)
"""


def _deadly(adapter: Adapter, name: str, content: bytes, folder: Path) -> int | None:
    """Give the length of a shortened file that ends the process which reads it; None where none does."""
    whole = folder / "whole"
    whole.write_bytes(content)
    lengths = sorted({len(content) * part // _CUTS for part in range(_CUTS)} | {max(len(content) - 1, 0)})
    done = _new_process(adapter, _READ, str(folder / name), str(whole), *map(str, lengths))
    if done.returncode >= 0:
        return None
    return int(done.stdout.splitlines()[-1].removeprefix("reading "))


def _new_process(adapter: Adapter, code: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run code with the adapter's module and class as its first words. An exit that is no signal must be 0."""
    kind = type(adapter)
    path = os.pathsep.join(entry or os.curdir for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code, kind.__module__, kind.__qualname__, *words],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode > 0:
        why = done.stderr.strip().rpartition("\n")[2]
        raise AssertionError(f"a new process cannot import {kind.__qualname__} from {kind.__module__}: {why}")
    return done


def _asked_before(adapter: Adapter) -> list[Adapter]:
    """Give the built-in adapters that are asked before any plug-in."""
    return [other for other in adapters() if other.name in ("sklearn", "onnx") and other.name != adapter.name]


_TINY_GRAPH = bytes.fromhex(
    "080712003a370a100a016112016222084964656e746974791201675a0f0a0161120a0a08080112040a020801"
    "620f0a0162120a0a08080112040a02080142040a00100d"
)
"""An ONNX graph of one Identity."""


def _strangers(case: _Case) -> Iterator[Path]:
    """Write files that are no models of this adapter."""
    folder = _new(case.folder, "strangers")
    contents = {
        "notes.txt": b"hello\n", "table.csv": b"a,b\n1,2\n", "data.json": b'{"a": [1, 2]}\n', "list.json": b"[1, 2]",
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(32), "empty": b"", "one-byte": b"{", "noise": bytes(range(256)),
    }  # fmt: skip
    if case.adapter.name != "sklearn":
        contents["model.joblib"] = pickle.dumps({"a": 1})
    if case.adapter.name != "onnx":
        contents["model.onnx"] = _TINY_GRAPH
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        yield folder / name
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    yield folder / "archive.zip"


_CODE_EVENTS = {"pickle.find_class", "exec", "compile", "os.system", "subprocess.Popen", "ctypes.dlopen"}
_listening = threading.local()


def _listen(event: str, _: Any) -> None:
    if event in _CODE_EVENTS and getattr(_listening, "events", None) is not None:
        _listening.events.append(event)


def _code_events(call: Callable[[], object]) -> list[str]:
    """Give the audit events of running code that a call raises in this thread, once it is warm (imports run code)."""
    call()
    if not getattr(_code_events, "hooked", False):
        sys.addaudithook(_listen)  # for the rest of the process: a hook cannot be taken away
        _code_events.hooked = True  # type: ignore[attr-defined]
    _listening.events = []
    try:
        call()
        return sorted(set(_listening.events))
    finally:
        _listening.events = None


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._path),)


def _springs(case: _Case, artifact: Path) -> bool:
    """Tell whether a pickle under the artifact's name runs its code although `runs_code` says that it does not."""
    folder = _new(case.folder, "trap")
    sprung, path = folder / "sprung", folder / artifact.name
    path.write_bytes(pickle.dumps(_Trap(sprung)))
    if case.adapter.runs_code(path) is False:
        _failure(partial(case.adapter.read, path))
    return sprung.exists()


def _copies(arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: array.copy() for name, array in arrays.items()}


def _locked_copy(array: NDArray[Any]) -> NDArray[Any]:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def _turned(signature: Signature, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Give a column in the other of its two shapes; anything else as it is."""
    shape = next((field.shape for field in signature.inputs if field.name == name), None)
    if shape == (-1,) and array.ndim == 1:
        return array.reshape(-1, 1)
    return array.reshape(-1) if shape == (-1, 1) and array.ndim == 2 else array


def _misfitting(case: _Case) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    rows = dict(case.rows)
    for field in case.signature.inputs:
        if field.sequence or field.shape[:1] != (-1,):
            continue
        array = rows[field.name]
        if field.datatype not in ("BYTES", "BOOL"):
            words = np.full(array.shape, "word", dtype=object)
            yield f"words in the {field.datatype} input {field.name!r}", {**rows, field.name: words}
        if len(field.shape) == 2 and field.shape[1] > 1:
            yield f"a column too few in {field.name!r}", {**rows, field.name: array[:, :-1]}
        if _is_by_row(case.signature) and len(case.signature.inputs) > 1:
            yield f"a row too few in {field.name!r}", {**rows, field.name: array[:-1]}


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if wanted == ():  # any shape
        return True
    return len(shape) == len(wanted) and all(w in (-1, n) for w, n in zip(wanted, shape, strict=True))


def _only_texts(array: NDArray[Any]) -> bool:
    return all(value is None or isinstance(value, str) for value in array.ravel().tolist())


def _slice(arrays: Arrays, row: int) -> dict[str, NDArray[Any]]:
    return {name: array[row : row + 1] for name, array in arrays.items()}


def _rolled(arrays: Arrays, places: int) -> dict[str, NDArray[Any]]:
    return {name: np.roll(array, places, axis=0) if places else array for name, array in arrays.items()}


def _shown(answer: Arrays) -> str:
    return one_line(Exception({name: array.tolist() for name, array in answer.items()}))[:200]


@contextmanager
def _switching_often() -> Iterator[None]:
    """Let threads take turns a thousand times as often, so that what they share shows."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _damages(content: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    for percent in (10, 50, 90):
        yield f"cut short at {percent} %", content[: max(1, len(content) * percent // 100)]
    yield "without its last byte", content[:-1]
    yield "full of zeros", bytes(max(len(content), 64))
    yield "a text", b"hello, this is no model\n" * 8


def _answers_alike(case: _Case, path: Path) -> bool:
    """Tell whether a file that lacks its last byte lost nothing: some formats end in padding or a line break."""
    try:
        return case.agree(case.ask(model=case.adapter.load(path, case.signature)), case.answers)
    except Exception:
        return False
