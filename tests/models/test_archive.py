"""A version travels as one file; what is in it is checked, and nothing else is written."""

import copy
import json
import random
import zipfile

import pytest

from serinus.models import (
    Card,
    DigestMismatch,
    InvalidManifest,
    Lineage,
    ModelError,
    Registry,
    Trust,
    UnsupportedArtifact,
    UntrustedArtifact,
    register,
    register_file,
)
from serinus.models.archive import export_version, import_archive, is_archive


@pytest.fixture
def version(home, pipeline, people):
    """A registered pickle with everything that a version may have."""
    return register(pipeline, "churn", reference=people, target="buys", home=home, card=Card(owner="Ada"),
                    lineage=Lineage(parent="churn:7"), attachments={"references/a.json": b"{}"})  # fmt: skip


@pytest.fixture
def exported(version, tmp_path):
    export_version(version, tmp_path / "churn.zip")
    return tmp_path / "churn.zip"


@pytest.fixture
def elsewhere(tmp_path):
    return Registry(tmp_path / "elsewhere")


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """Write the archive again, its entries changed by a function from dict to dict."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in change(entries).items():
            archive.writestr(name, data)
    return path


def with_manifest(entries, **changes):
    manifest = json.loads(entries["manifest.json"]) | changes
    return entries | {"manifest.json": json.dumps(manifest).encode()}


def test_a_version_arrives_as_it_left(exported, version, elsewhere):
    """Artifact, signature, card, attachments and libraries are the same; number, time and origin are the registry's."""
    arrived = import_archive(exported, elsewhere)
    assert (arrived.tag, arrived.lineage.origin, arrived.lineage.parent) == ("churn:1", "churn:1", "churn:7")
    for part in ("digest", "signature", "card", "libraries", "adapter", "artifact", "size"):
        assert getattr(arrived, part) == getattr(version, part)
    assert elsewhere.attachments(arrived) == ["checks/rows.json", "expectations.json", "references/a.json"]


def test_it_gets_the_next_number_under_any_name(exported, elsewhere, graph_file):
    """Numbers are the registry's own; the tag it had is kept through every further journey."""
    register_file(graph_file, "other", home=elsewhere.home)
    arrived = import_archive(exported, elsewhere, name="other")
    assert (arrived.tag, arrived.lineage.origin) == ("other:2", "churn:1")
    export_version(arrived, exported)
    assert import_archive(exported, elsewhere, name="third").lineage.origin == "churn:1"


def test_the_same_version_again_is_the_same(exported, version, home):
    """Equal digest and signature mean the same version here too."""
    assert import_archive(exported, Registry(home)).tag == "churn:1"
    assert Registry(home).versions("churn") == ["1"]


def test_a_pickle_is_not_trusted_for_having_been_imported(exported, elsewhere, version):
    """Importing runs nothing and trusts nothing; loading asks."""
    arrived = import_archive(exported, elsewhere)
    with pytest.raises(UntrustedArtifact, match=f"serinus models trust {version.digest} --home"):
        elsewhere.load(arrived, trust=Trust(elsewhere.home))
    assert elsewhere.load(arrived, trust=Trust(elsewhere.home, [version.digest]))


def test_external_data_travel_along(graph, home, tmp_path, elsewhere):
    """A graph whose weights lie beside it is still one version of several files."""
    import onnx

    folder = tmp_path / "graph"
    folder.mkdir()
    weights = onnx.helper.make_tensor("w", 1, [1000], [1.0] * 1000)
    add = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    field = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph([add], "g", [field("x", 1, ["n", 1000])], [field("y", 1, ["n", 1000])], [weights]),
        opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    onnx.save_model(model, folder / "g.onnx", save_as_external_data=True, location="w.bin")
    version = register_file(folder, "sum", home=home)
    export_version(version, tmp_path / "sum.zip")
    arrived = import_archive(tmp_path / "sum.zip", elsewhere)
    assert arrived.digest == version.digest
    assert elsewhere.load(arrived).signature == version.signature


def test_an_export_is_the_same_file_every_time(exported, version, tmp_path):
    """Two exports can be compared byte by byte."""
    export_version(version, tmp_path / "again.zip")
    assert exported.read_bytes() == (tmp_path / "again.zip").read_bytes()
    assert is_archive(exported) and not is_archive(tmp_path / "absent.zip")


def test_changed_files_are_not_exported(version, tmp_path):
    """The digest is checked on the way out, and no half file stays."""
    artifact = version.path / version.artifact
    artifact.chmod(0o644)
    artifact.write_bytes(b"!")
    with pytest.raises(DigestMismatch):
        export_version(version, tmp_path / "churn.zip")
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".new-*"))


def _outside(entries):
    manifest = json.loads(entries["manifest.json"])
    file = {"path": "../../evil", "size": 1, "sha256": "0" * 64}
    return with_manifest(entries, attachments=[*manifest["attachments"], file]) | {"../../evil": b"!"}


BROKEN = {
    "an artifact that was changed": (lambda e: e | {"artifact/model.joblib": b"!"}, DigestMismatch),
    "an attachment that was changed": (lambda e: e | {"references/a.json": b"[]"}, DigestMismatch),
    "another digest": (lambda e: with_manifest(e, digest="sha256:" + "0" * 64), DigestMismatch),
    "a file too many": (lambda e: e | {"more.txt": b"!"}, InvalidManifest),
    "a file out of the folder": (lambda e: e | {"../evil": b"!"}, InvalidManifest),
    "a listed file out of the folder": (_outside, InvalidManifest),
    "an absolute path": (lambda e: e | {"/evil": b"!"}, InvalidManifest),
    "a file too few": (lambda e: {name: data for name, data in e.items() if "references" not in name}, InvalidManifest),
    "an artifact elsewhere": (lambda e: with_manifest(e, artifact="artifact/other"), InvalidManifest),
    "a manifest of the future": (lambda e: with_manifest(e, format=2), InvalidManifest),
    "a manifest that is none": (lambda e: e | {"manifest.json": b"["}, InvalidManifest),
    "an endless manifest": (lambda e: e | {"manifest.json": b"[" * 100_000}, InvalidManifest),
    "no manifest": (lambda e: {name: data for name, data in e.items() if name != "manifest.json"}, UnsupportedArtifact),
    "an impossible name": (lambda e: with_manifest(e, name="../x"), ModelError),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_was_not_exported_is_refused(kind, exported, elsewhere):
    """One sentence that names the file; nothing of it is registered or written anywhere."""
    change, error = BROKEN[kind]
    with pytest.raises(error) as raised:
        import_archive(rewritten(exported, change), elsewhere)
    assert "\n" not in str(raised.value)
    assert elsewhere.names() == []
    assert not list(elsewhere.home.parent.rglob("evil"))


def test_bombs_are_refused_before_they_are_read(exported, elsewhere):
    """What is unpacked is never larger than the file: compressed entries are refused."""
    bomb = rewritten(exported, lambda entries: entries | {"bomb": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UnsupportedArtifact, match="holds compressed files"):
        import_archive(bomb, elsewhere)


def test_bombs_of_overlapping_files_are_refused(exported, elsewhere):
    """Many names for the same bytes of the file would unpack to more than it holds."""
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr("bomb", b"\0" * 1_000_000)
        for number in range(100):
            entry = copy.copy(archive.getinfo("bomb"))
            entry.filename = f"bomb{number}"
            archive.filelist.append(entry)
    with zipfile.ZipFile(exported) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) > 50 * exported.stat().st_size
    with pytest.raises(UnsupportedArtifact, match="holds more than"):
        import_archive(exported, elsewhere)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(exported, elsewhere):
    """Which of the two would count is nobody's guess."""
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr("manifest.json", b"{}")
    with pytest.raises(UnsupportedArtifact, match="two files of one name"):
        import_archive(exported, elsewhere)


def test_damaged_archives_are_told(exported, elsewhere):
    """Cut short, changed anywhere or empty: one sentence, and nothing is registered."""
    whole = exported.read_bytes()
    chance = random.Random(3)
    for trial in range(120):
        data = bytearray(whole[: chance.randrange(len(whole))] if trial % 2 else whole)
        for _ in range(trial // 2):
            if data:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        if bytes(data) == whole:
            continue
        exported.write_bytes(data)
        try:
            arrived = import_archive(exported, elsewhere)
        except ModelError as error:
            assert "\n" not in str(error)
        else:  # what is not covered by a digest, such as an entry's time, may change
            assert elsewhere.get("churn", arrived.version).digest == arrived.digest
