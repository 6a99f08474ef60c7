"""`serinus models`: register, list, show, alias, trust, delete."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from serinus.models import Card, Lineage, Registry, Trust, register
from tests.serving.cli.terminal import Terminal

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A fitted tree as a file, and beside it the rows it was trained with."""
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    rows.assign(kind=kinds).to_csv(tmp_path / "rows.csv", index=False)
    joblib.dump(DecisionTreeClassifier(max_depth=2).fit(rows, kinds), tmp_path / "tree.joblib")
    return tmp_path / "tree.joblib"


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_pickle_is_refused_with_the_command_that_trusts_it(cli: Any, pickled: Path) -> None:
    """The sentence says what, why and how; nothing is asked where no terminal is."""
    said = cli("models", "register", "tree", pickled)
    assert said.code == 1 and said.out == ""
    assert f"serinus models register tree {pickled} --trust {_digest(pickled)}" in said.err


def test_a_trusted_file_becomes_a_version_once(cli: Any, pickled: Path) -> None:
    """The same file again is the same version."""
    words = ("models", "register", "tree", pickled, "--trust", _digest(pickled), "--reference",
             pickled.parent / "rows.csv", "--target", "kind")
    printed = cli(*words).out
    assert printed.startswith("Registered tree:1 (sklearn, 4 fields in, 2 fields out).\nReference ")
    assert printed.endswith("\nServe it: serinus serve tree\n")
    assert cli(*words).out.startswith("tree:1 is registered already, with the same digest")
    assert cli(*words, "--json").json["tag"] == "tree:1"


def test_a_target_needs_a_reference(cli: Any, pickled: Path) -> None:
    """A flag that would do nothing is an error."""
    said = cli("models", "register", "tree", pickled, "--target", "kind")
    assert (said.code, said.err) == (1, "serinus: --target names a column of the reference: give --reference FILE too, "
                                        "or leave it out.\n")


def test_the_list_is_an_aligned_table(cli: Any) -> None:
    """One line for each version, columns below their heads."""
    head, *lines = cli("models", "list").out.splitlines()
    assert head.split() == ["NAME", "VERSION", "ROLE", "ALIASES", "ADAPTER", "SIZE", "SKEW", "CREATED", "DIGEST"]
    assert [line[:len("iris  1        -")] for line in lines] == ["iris  1        -", "iris  2        -"]
    assert [version["tag"] for version in cli("models", "list", "--json").json] == ["iris:1", "iris:2"]


def test_an_empty_home_says_what_to_do(cli: Any, tmp_path: Path) -> None:
    """A first look at nothing is no error, and makes nothing."""
    said = cli("models", "list", "--home", tmp_path / "none")
    assert said.code == 0 and "serinus models register NAME PATH" in said.out
    assert not (tmp_path / "none").exists()


def test_show_tells_the_signature(cli: Any) -> None:
    """The newest version where none is named."""
    assert cli("models", "show", "iris").out.startswith("iris:2\n  adapter  sklearn\n  digest   sha256:")
    assert [field["name"] for field in cli("models", "show", "iris:1", "--json").json["signature"]["outputs"]] == [
        "predict", "predict_proba"]


@pytest.mark.parametrize(("tag", "sentence"), [
    ("iris:9", "Model 'iris' has no version '9'; there are 1, 2."),
    ("irs", "No model is named 'irs'"),
    ("Iris", "'Iris' is no model name"),
])
def test_what_is_not_there_is_said_with_what_is(tag: str, sentence: str, cli: Any) -> None:
    """Names and versions are never guessed."""
    said = cli("models", "show", tag)
    assert said.code == 1 and sentence in said.err and "Traceback" not in said.err


def test_a_version_in_use_is_not_deleted(cli: Any) -> None:
    """Stable, candidate and the version a rollback returns to stay; what does nothing goes, for good."""
    cli("rollout", "start", "iris:2", "--manual", "--steps", "100")
    assert "iris:1 is stable" in cli("models", "delete", "iris:1").err
    assert "iris:2 is candidate" in cli("models", "delete", "iris:2").err
    cli("rollout", "promote", "iris")
    assert "iris:1 is previous" in cli("models", "delete", "iris:1").err
    cli("rollback", "iris")
    assert cli("models", "delete", "iris:2").out == "Deleted iris:2.\n"
    assert cli("models", "delete", "iris:2").code == 1


def test_delete_wants_a_version(cli: Any) -> None:
    """A name alone deletes nothing."""
    assert "Which version of 'iris'? There are 1, 2" in cli("models", "delete", "iris").err


def test_a_card_goes_with_a_version(cli: Any, pickled: Path) -> None:
    """Card and lineage are shown; the same model again with another card corrects the card."""
    card = pickled.parent / "card.json"
    words = ("models", "register", "tree", pickled, "--trust", _digest(pickled), "--card", card)
    card.write_text('{"description": "Which iris it is", "metrics": {"accuracy": 0.95}, "tags": ["demo"]}')
    cli(*words, "--reference", pickled.parent / "rows.csv", "--target", "kind")
    shown = cli("models", "show", "tree").out
    assert "  card\n    description  Which iris it is\n    metrics      accuracy 0.95\n    tags         demo\n" in shown
    assert "(150 rows)" in shown and "trust    its digest is trusted here" in shown
    card.write_text('{"owner": "Ada"}')
    cli(*words, "--reference", pickled.parent / "rows.csv", "--target", "kind")
    assert cli("models", "show", "tree:1", "--json").json["card"] == {"owner": "Ada"}


@pytest.mark.parametrize(("text", "sentence"), [
    ("{", "cannot be read as JSON"), ("[1]", "A model card is a JSON object"),
    ('{"ownr": "x"}', "did you mean 'owner'"),
])
def test_a_card_that_is_none_is_refused(cli: Any, pickled: Path, text: str, sentence: str) -> None:
    """Nothing is registered without the card that was asked for."""
    card = pickled.parent / "card.json"
    card.write_text(text)
    said = cli("models", "register", "tree", pickled, "--trust", _digest(pickled), "--card", card)
    assert said.code == 1 and sentence in said.err and said.err.count("\n") == 1
    assert cli("models", "show", "tree").code == 1


def test_an_alias_stands_for_a_version(cli: Any) -> None:
    """It is set, moved, shown, used and removed."""
    assert cli("models", "alias", "iris", "production", "1").out == "iris:production stands for version 1.\n"
    assert cli("models", "alias", "iris", "production", "2").out == (
        "iris:production stands for version 2, before for 1.\n")
    assert cli("models", "alias", "iris", "old", "1", "--json").json["aliases"] == {"old": "1", "production": "2"}
    assert cli("models", "show", "iris:production").out.startswith("iris:2  (production)\n")
    assert cli("models", "show", "iris:latest", "--json").json["aliases"] == ["production"]
    assert [version["aliases"] for version in cli("models", "list", "--json").json] == [["old"], ["production"]]
    assert cli("models", "alias", "iris", "newer", "production").out == "iris:newer stands for version 2.\n"
    assert cli("models", "alias", "iris", "production", "--delete").out == (
        "iris:production is gone; it stood for version 2.\n")
    assert "no alias 'production'; there are 1, 2, newer (2), old (1)." in cli("models", "show", "iris:production").err


@pytest.mark.parametrize(("words", "code", "sentence"), [
    (("iris", "production"), 2, "Give the VERSION"),
    (("iris", "production", "1", "--delete"), 2, "Give the VERSION"),
    (("iris", "production", "9"), 1, "no version '9'"),
    (("iris", "latest", "1"), 1, "always means the highest version"),
    (("iris", "7", "1"), 1, "'7' is no alias"),
    (("iris", "absent", "--delete"), 1, "no alias 'absent'"),
    (("absent", "production", "1"), 1, "No model is named 'absent'"),
])
def test_impossible_aliases_are_told(cli: Any, words: tuple[str, ...], code: int, sentence: str) -> None:
    """What cannot be is said in one sentence."""
    said = cli("models", "alias", *words)
    assert said.code == code and sentence in said.err and "Traceback" not in said.err


def test_a_rollout_takes_an_alias(cli: Any) -> None:
    """It is resolved once, at the door: the record has the number."""
    cli("models", "alias", "iris", "production", "2")
    assert cli("rollout", "start", "iris:production", "--json").json["record"]["candidate"] == "2"
    cli("models", "alias", "iris", "production", "1")
    assert cli("rollout", "status", "iris", "--json").json["record"]["candidate"] == "2"
    assert "no alias 'absent'" in cli("rollout", "start", "iris:absent").err


def test_a_version_with_an_alias_is_not_deleted(cli: Any) -> None:
    """`--force` says that the alias may go too."""
    cli("models", "alias", "iris", "production", "2")
    said = cli("models", "delete", "iris:production")
    assert said.code == 1 and "Move the alias: serinus models alias iris production VERSION" in said.err
    assert cli("models", "delete", "iris:2", "--force").out == "Deleted iris:2.\n"
    assert cli("models", "alias", "iris", "x", "1", "--json").json["aliases"] == {"x": "1"}


def test_damaged_aliases_hide_no_version(cli: Any, home: Path) -> None:
    """A list goes on, and says what is damaged."""
    (home / "models" / "iris" / "aliases.json").write_text("{")
    said = cli("models", "list")
    assert said.code == 0 and len(said.out.splitlines()) == 3 and "aliases.json cannot be read" in said.err


def test_other_libraries_are_shown(cli: Any, home: Path) -> None:
    """What a version was made with stands beside what is installed."""
    manifest = home / "models" / "iris" / "1" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["libraries"]["numpy"] = "1.0.3"
    manifest.write_text(json.dumps(document))
    assert "numpy" in cli("models", "list").out.splitlines()[1]
    assert "skew     numpy 1.0.3, here " in cli("models", "show", "iris:1").out
    assert cli("models", "show", "iris:2", "--json").json["skew"] == []


def test_a_lineage_is_shown(cli: Any, home: Path) -> None:
    """Parent, step, commit and data, in a few lines."""
    rows, kinds = load_iris(return_X_y=True, as_frame=True)
    lineage = Lineage(parent="iris:1", step="pruned", commit="abc", dirty=True)
    register(DecisionTreeClassifier().fit(rows, kinds), "iris", home=home, lineage=lineage, card=Card(owner="Ada"))
    shown = cli("models", "show", "iris").out
    assert "parent  iris:1" in shown and "commit  abc, with changes that were not committed" in shown


def test_a_digest_is_trusted_by_command(cli: Any, pickled: Path, home: Path) -> None:
    """What a refusal proposes works as it stands; what is no digest is refused."""
    assert cli("models", "trust", _digest(pickled)).out == f"{_digest(pickled)} is trusted in {home}.\n"
    assert cli("models", "register", "tree", pickled).code == 0
    said = cli("models", "trust", "abc")
    assert said.code == 1 and "'abc' is no digest" in said.err


ARTIFACTS = {
    "empty.joblib": b"", "empty.onnx": b"", "empty.skops": b"", "text.pkl": b"hello", "text.onnx": b"hello",
    "image.pkl": b"\x89PNG\r\n\x1a\n" + bytes(100), "zip.skops": b"PK\x05\x06" + bytes(18), "model.h5": b"\x89HDF",
    "short.joblib": b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f", "bomb.pkl": b"\x80\x05" + b"]" * 50_000 + b".",
    "number.pkl": b"\x80\x05K\x03.", "none": b"", "huge.onnx": b"\x3a\xff\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("name", ARTIFACTS)
def test_a_file_that_is_no_model_is_told(cli: Any, tmp_path: Path, name: str) -> None:
    """Empty, cut short, of another kind: one sentence, exit code 1, nothing registered, trusted or not."""
    path = tmp_path / name
    path.write_bytes(ARTIFACTS[name])
    for words in ((), ("--trust", _digest(path))):
        said = cli("models", "register", "strange", path, *words)
        assert (said.code, said.out, said.err.count("\n")) == (1, "", 1), said.err
        assert said.err.startswith("serinus: ") and str(path) in said.err
    assert cli("models", "show", "strange").code == 1


def test_a_model_cut_short_is_told(cli: Any, pickled: Path) -> None:
    """A download that broke off, at any place."""
    whole = pickled.read_bytes()
    for length in (1, 10, len(whole) // 2, len(whole) - 1):
        pickled.write_bytes(whole[:length])
        said = cli("models", "register", "tree", pickled, "--trust", _digest(pickled))
        assert (said.code, said.err.count("\n")) == (1, 1), said.err


@pytest.mark.parametrize(("name", "text", "sentence"), [
    ("rows.csv", "", "cannot be read"), ("rows.csv", "a,b\n1,2\n", "lacks the columns"),
    ("rows.parquet", "PAR1", "cannot be read"), ("rows.txt", "\0\0", "has no rows"),
    ("rows.json", "{}", "expected .csv or .parquet, got '.json'"), ("absent.csv", None, "no such file"),
])
def test_a_reference_that_is_none_is_told(cli: Any, pickled: Path, name: str, text: str | None, sentence: str) -> None:
    """A reference that cannot be read or does not fit: one sentence."""
    path = pickled.parent / name
    if text is not None:
        path.write_text(text)
    said = cli("models", "register", "tree", pickled, "--trust", _digest(pickled), "--reference", path)
    assert (said.code, said.err.count("\n")) == (1, 1) and sentence in said.err, said.err


def test_a_home_that_cannot_be_written_is_told(cli: Any, pickled: Path) -> None:
    """A file where the home should be: one sentence."""
    said = cli("models", "register", "tree", pickled, "--trust", _digest(pickled), "--home", pickled / "home")
    assert (said.code, said.err.count("\n")) == (1, 1), said.err


def test_a_terminal_is_asked_once(pickled: Path, home: Path) -> None:
    """A no refuses, with the command; a yes registers, and is remembered: nobody is asked twice."""
    terminal = Terminal("models", "register", "tree", pickled)
    terminal.until("[y/N]")
    terminal.type("n")
    assert terminal.end() == 1
    assert f"--trust {_digest(pickled)}" in terminal.said and "runs code" in terminal.said
    assert list(Trust(home)) and _digest(pickled) not in Trust(home)
    terminal = Terminal("models", "register", "tree", pickled)
    terminal.until("[y/N]")
    terminal.type("y")
    assert terminal.end() == 0
    assert "Registered tree:1" in terminal.said and _digest(pickled) in Trust(home)
    pickled.rename(pickled.with_name("again.joblib"))
    terminal = Terminal("models", "register", "tree", pickled.with_name("again.joblib"))
    assert terminal.end() == 0 and "[y/N]" not in terminal.said


def test_json_is_never_asked(pickled: Path, home: Path) -> None:
    """A script that reads JSON gets its refusal, terminal or not."""
    terminal = Terminal("models", "register", "tree", pickled, "--json")
    assert terminal.end() == 1 and "[y/N]" not in terminal.said
    assert Registry(home).versions("tree") == []


def test_formats_that_hold_no_code_need_no_trust(cli: Any, tmp_path: Path, home: Path) -> None:
    """skops and ONNX files are registered as they are, and nobody is asked or trusted for it."""
    import skops.io
    from skl2onnx import to_onnx

    rows, kinds = load_iris(return_X_y=True)
    fitted = DecisionTreeClassifier(max_depth=2).fit(rows, kinds)
    skops.io.dump(fitted, tmp_path / "tree.skops")
    (tmp_path / "tree.onnx").write_bytes(
        to_onnx(fitted, rows[:1].astype("float32"), options={"zipmap": False}).SerializeToString())
    before = list(Trust(home))
    for number, suffix in enumerate(("skops", "onnx"), 1):
        assert cli("models", "register", "tree", tmp_path / f"tree.{suffix}").code == 0
        assert "trust    not needed" in cli("models", "show", f"tree:{number}").out
    assert list(Trust(home)) == before


def test_a_signature_may_be_given(cli: Any, pickled: Path) -> None:
    """As `models show --json` prints it, changed by hand; what is none is told in one sentence."""
    assert cli("models", "register", "tree", pickled, "--trust", _digest(pickled)).code == 0
    shown = json.loads(cli("models", "show", "tree", "--json").out)
    del shown["signature"]["inputs"][0]["optional"]
    path = pickled.parent / "signature.json"
    path.write_text(json.dumps(shown))
    said = cli("models", "register", "tree", pickled, "--signature", path)
    assert (said.code, said.out.splitlines()[0].split(" (")[0]) == (0, "Registered tree:2"), said.err
    assert json.loads(cli("models", "show", "tree:2", "--json").out)["signature"] == shown["signature"]
    path.write_text('{"format": 1, "inputs": 3}')
    said = cli("models", "register", "tree", pickled, "--signature", path)
    assert (said.code, said.err.count("\n")) == (1, 1) and "A signature needs a list of inputs" in said.err
