"""Versions are immutable folders: written aside, renamed into place, checked at every load."""

import itertools
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from serinus.models import (
    Card,
    DigestMismatch,
    Field,
    InvalidManifest,
    InvalidName,
    Lineage,
    ModelError,
    ModelNotFound,
    ReadOnly,
    Registry,
    Signature,
    Trust,
    UntrustedArtifact,
    VersionNotFound,
    register,
)
from serinus.models.loading import verify

SIGNATURE = Signature((Field("input", "FP64", (-1, 2)),), (Field("predict", "FP64", (-1,)),))
OTHER = Signature((Field("input", "FP64", (-1, 3)),), (Field("predict", "FP64", (-1,)),))
FIXTURE = Path(__file__).parent / "fixtures" / "home"


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "model.joblib"
    path.write_bytes(b"first")
    return path


def add(home, artifact, signature=SIGNATURE, **more):
    return Registry(home).add("churn", artifact, adapter="sklearn", signature=signature, **more)


def test_versions_count_up(home, artifact):
    """Each new artifact gets the next number, and no version is given the highest."""
    for text in (b"a", b"b", b"c"):
        artifact.write_bytes(text)
        add(home, artifact)
    assert Registry(home).versions("churn") == ["1", "2", "3"]
    assert Registry(home).get("churn").tag == "churn:3"
    assert [version.tag for version in Registry(home).all()] == ["churn:1", "churn:2", "churn:3"]


def test_order_is_numeric(home, artifact):
    """Version 10 comes after 9."""
    for number in range(10):
        artifact.write_bytes(b"%d" % number)
        add(home, artifact)
    assert Registry(home).get("churn").version == "10"


def test_same_digest_and_signature_is_the_same_version(home, artifact):
    """Registering the same again gives the version that is there; another signature makes a new one."""
    first = add(home, artifact)
    assert first == add(home, artifact)
    assert add(home, artifact, OTHER).version == "2"


def test_what_is_read_is_what_was_added(home, artifact):
    """A version read from its folder equals the one that `add` gave."""
    assert add(home, artifact) == Registry(home).get("churn", "1")


def test_unknown_names_and_versions(home, artifact):
    """A wrong name or version is answered with what exists, and with close names."""
    add(home, artifact)
    with pytest.raises(ModelNotFound, match="did you mean churn"):
        Registry(home).get("chrun")
    with pytest.raises(VersionNotFound, match="there are 1"):
        Registry(home).get("churn", "7")
    with pytest.raises(VersionNotFound):
        Registry(home).get("churn", "../../1")


@pytest.mark.parametrize("name", ["", "Churn", "../etc", "a/b", "a" * 64, ".hidden", "ä"])
def test_impossible_names(home, artifact, name):
    """Names that break the rule are refused before anything is written."""
    with pytest.raises(InvalidName):
        Registry(home).add(name, artifact, adapter="sklearn", signature=SIGNATURE)
    assert not home.exists()


def test_foreign_and_half_written_folders_are_passed_over(home, artifact):
    """Leftovers, foreign files and broken manifests never break a listing, and their numbers are not reused."""
    add(home, artifact)
    models = home / "models"
    (models / "churn" / "2").mkdir()
    (models / "churn" / ".new-abc" / "artifact").mkdir(parents=True)
    (models / "churn" / "3").mkdir()
    (models / "churn" / "3" / "manifest.json").write_text("{")
    (models / "Not A Model").mkdir()
    (models / "notes.txt").write_text("hello")
    assert (Registry(home).names(), Registry(home).versions("churn")) == (["churn"], ["1"])
    with pytest.raises(InvalidManifest):
        Registry(home).get("churn", "3")
    artifact.write_bytes(b"second")
    assert add(home, artifact).version == "4"


def test_a_failed_add_leaves_nothing(home, tmp_path):
    """When the artifact cannot be copied, no folder stays behind."""
    with pytest.raises(FileNotFoundError):
        add(home, tmp_path / "absent.joblib")
    assert [entry.name for entry in (home / "models" / "churn").iterdir()] == [".lock"]


def test_deleted_numbers_are_not_given_again(home, artifact):
    """The prediction log names versions, so a number means one version for ever."""
    add(home, artifact)
    Registry(home).delete("churn", "1")
    assert Registry(home).names() == []
    assert add(home, artifact).version == "2"


def test_changed_files_do_not_load(home, pipeline, features):
    """The digest is checked at every load: a changed, added or missing file is refused."""
    version = register(pipeline, "churn", reference=features, home=home)
    file = version.path / version.artifact
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b"!")
    with pytest.raises(DigestMismatch, match="churn:1"):
        Registry(home).load(version, trust=Trust(home))
    file.unlink()
    with pytest.raises(DigestMismatch):
        Registry(home).load(version, trust=Trust(home))


def test_registered_models_answer(home, pipeline, people, features):
    """What was registered is loaded with its signature and answers like the fitted object."""
    from serinus.models.frame import arrays_of

    version = register(pipeline, "churn", reference=people, target="buys", home=home)
    model = Registry(home).load(version, trust=Trust(home))
    assert version.signature == model.signature
    answer = model.predict(arrays_of(features, model.signature.inputs))
    assert pipeline.predict(features).tolist() == answer["predict"].tolist()


def test_another_home_does_not_trust_it(home, tmp_path, pipeline):
    """A pickle copied to another machine is refused until its digest is trusted there."""
    version = register(pipeline, "churn", home=home)
    with pytest.raises(UntrustedArtifact, match=version.digest):
        Registry(home).load(version, trust=Trust(tmp_path / "elsewhere"))


def test_bundled_versions_are_read_only(home, tmp_path, artifact):
    """A bundle's versions are listed and given, counted over, and never changed."""
    add(tmp_path / "bundle", artifact)
    registry = Registry(home, bundled=[tmp_path / "bundle"])
    assert registry.get("churn").tag == "churn:1"
    artifact.write_bytes(b"second")
    assert registry.add("churn", artifact, adapter="sklearn", signature=SIGNATURE).version == "2"
    with pytest.raises(ReadOnly):
        registry.delete("churn", "1")
    with pytest.raises(ReadOnly):
        registry.attach(registry.get("churn", "1"), {"a.json": b"{}"})


def test_attachments(home, artifact):
    """Attachments are kept with their digests, added later too, and never replaced."""
    registry = Registry(home)
    version = add(home, artifact, attachments={"references/a.json": b"{}"})
    registry.attach(version, {"references/b.json": b"[]", "references/a.json": b"{}"})
    assert registry.attachments(version) == ["references/a.json", "references/b.json"]
    assert registry.attachment(version, "references/b.json") == b"[]"
    assert version == registry.get("churn", "1")
    with pytest.raises(ModelError, match="never replaced"):
        registry.attach(version, {"references/a.json": b"other"})
    (version.path / "references" / "a.json").write_bytes(b"tampered")
    with pytest.raises(DigestMismatch):
        registry.attachment(version, "references/a.json")


@pytest.mark.parametrize("name", ["../x", "/x", "manifest.json", "artifact/x", ""])
def test_attachment_names_stay_inside(home, artifact, name):
    """An attachment cannot reach outside its folder or over the version's own files."""
    with pytest.raises(ModelError, match="no attachment name"):
        add(home, artifact, attachments={name: b""})
    assert Registry(home).names() == []


def _register_many(home, artifact, signature, barrier):
    barrier.wait()
    Registry(home).add("churn", artifact, adapter="sklearn", signature=signature)


def _race(jobs):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(jobs))
    processes = [context.Process(target=_register_many, args=(*job, barrier)) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [0] * len(jobs) == [process.exitcode for process in processes]


def test_concurrent_registrars_get_different_versions(home, tmp_path):
    """Eight processes that register eight models at once make eight versions, each whole."""
    files = [tmp_path / f"{number}.joblib" for number in range(8)]
    for file in files:
        file.write_text(file.name)
    _race([(home, file, SIGNATURE) for file in files])
    versions = Registry(home).all()
    assert [str(number) for number in range(1, 9)] == [version.version for version in versions]
    assert {file.name for file in files} == {(v.path / v.artifact).read_text() for v in versions}


def test_concurrent_registrars_of_the_same_model_share_a_version(home, artifact):
    """Eight processes that register the same model at once make one version."""
    _race([(home, artifact, SIGNATURE)] * 8)
    assert Registry(home).versions("churn") == ["1"]


def test_rename_never_overwrites(home, artifact, monkeypatch):
    """Even where locks do nothing and the number was guessed too low, no version is overwritten."""
    add(home, artifact)
    artifact.write_bytes(b"second")
    monkeypatch.setattr(Registry, "_highest", lambda self, name: 0)
    assert add(home, artifact).version == "2"
    assert (home / "models/churn/1/artifact/model.joblib").read_bytes() == b"first"


def test_version_1_manifests_stay_readable():
    """A manifest of format 1, as first released, is read for ever."""
    version = Registry(FIXTURE).get("churn", "1")
    assert (version.tag, version.adapter, version.artifact) == ("churn:1", "sklearn", "artifact/model.joblib")
    assert (
        version.signature.input("colour").frame_dtype,
        version.signature.input("colour").labels,
    ) == ("category", ("green", "red"))
    assert (
        version.signature.input("age").optional,
        version.signature.output("predict").labels,
    ) == (True, ("no", "yes"))
    assert Registry(FIXTURE).attachment(version, "references/empty.json") == b"{}\n"


def test_manifests_of_the_future_are_refused(home, artifact):
    """A manifest of a later format is passed over in lists and refused in a sentence when asked for."""
    version = add(home, artifact)
    manifest = version.path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 2}))
    assert Registry(home).names() == []
    with pytest.raises(InvalidManifest, match="upgrade Serinus"):
        Registry(home).get("churn", "1")


def test_manifests_must_be_their_folder_s(home, artifact):
    """A version folder copied under another number, or that points outside itself, is not a version."""
    version = add(home, artifact)
    shutil.copytree(version.path, version.path.parent / "5")
    assert Registry(home).versions("churn") == ["1"]
    manifest = version.path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"artifact": "../../x"}))
    with pytest.raises(InvalidManifest, match="outside"):
        Registry(home).get("churn", "1")


def test_a_relative_home_is_the_same_home(home, artifact, monkeypatch):
    """However a home is spelt, its versions are its own to delete."""
    version = add(home, artifact)
    monkeypatch.chdir(home.parent)
    assert Registry(Path(home.name)).get("churn") == version
    Registry(Path(home.name)).delete("churn", "1")


def test_versions_are_values(home, artifact):
    """A version can be sent to another process and compares by value."""
    version = add(home, artifact)
    assert version == pickle.loads(pickle.dumps(version))


def _register_for_ever(home, artifact, seed, begun):
    for number in range(1_000_000):
        artifact.write_text(f"{seed} {number}")
        begun.set()
        version = add(home, artifact, attachments={"references/a.json": b"{}"})
        Registry(home).alias("churn", "newest", version.version)
        if number % 3 == 2:
            Registry(home).delete("churn", str(int(version.version) - 1))


def test_a_killed_registrar_leaves_no_half_version(home, tmp_path):
    """However often a process dies in the middle, what is listed is whole, and the next one sweeps what is left."""
    context = multiprocessing.get_context("fork")
    chance = random.Random(11)
    (tmp_path / "first.joblib").write_text("first")
    started = time.monotonic()
    add(home, tmp_path / "first.joblib", attachments={"references/a.json": b"{}"})
    some = 5 * (time.monotonic() - started)
    for kill in itertools.takewhile(lambda kill: kill < 25 or len(Registry(home).versions("churn")) < 10, range(200)):
        begun = context.Event()
        process = context.Process(target=_register_for_ever, args=(home, tmp_path / "model.joblib", kill, begun))
        process.start()
        begun.wait(20)
        time.sleep(chance.random() * some)
        os.kill(process.pid, signal.SIGKILL)
        process.join(20)
    registry = Registry(home)
    versions = registry.all()
    assert len(versions) >= 10
    for version in versions:
        verify(version)
        assert registry.attachment(version, "references/a.json") == b"{}"
    (tmp_path / "last.joblib").write_text("last")
    last = add(home, tmp_path / "last.joblib")
    assert int(last.version) > int(versions[-1].version)
    left = [path.name for path in last.path.parent.rglob(".*") if path.name.startswith((".new", ".trash"))]
    assert left == [], left


def test_the_kills_do_hit_registrars_in_the_middle(home, tmp_path, artifact):
    """What the test above sweeps does occur: a registrar that is stopped in the middle has its folder aside."""
    read, write = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=_stop_in_the_middle, args=(home, artifact, write))
    process.start()
    assert os.read(read, 1) == b"x"
    folder = home / "models" / "churn"
    assert [entry.name[:5] for entry in folder.iterdir() if entry.is_dir()] == [".new-"]
    assert Registry(home).all() == []
    process.kill()
    process.join(20)
    assert add(home, artifact).version == "1"
    assert sorted(entry.name for entry in folder.iterdir()) == [".lock", "1"]


def _stop_in_the_middle(home, artifact, pipe):
    class Stopping(dict):
        def items(self):
            os.write(pipe, b"x")
            time.sleep(60)

    add(home, artifact, attachments=Stopping(a=b""))


def test_what_lives_is_not_swept(home, artifact):
    """Another process's unfinished folder stays as long as its process lives, a stranger's for an hour."""
    add(home, artifact)
    folder = home / "models" / "churn"
    ours = folder / next(iter(_names_of_asides(folder)))
    ours.mkdir()
    (folder / ".new-elsewhere-1-1-abc").mkdir()
    (folder / ".trash-old-fashioned").mkdir()
    os.utime(folder / ".trash-old-fashioned", (1, 1))
    artifact.write_bytes(b"second")
    add(home, artifact)
    left = {entry.name for entry in folder.iterdir() if entry.name.startswith((".new", ".trash"))}
    assert left == {ours.name, ".new-elsewhere-1-1-abc"}


def _names_of_asides(folder):
    from serinus.models.files import aside_prefix

    return [f"{aside_prefix('new')}abc"]


def test_what_a_killed_attach_left_is_swept(home, artifact):
    """The next attachment beside it removes it; nobody ever saw it."""
    version = add(home, artifact, attachments={"references/a.json": b"{}"})
    (version.path / "references" / ".new-elsewhere-1-1-abc").write_text("half")
    os.utime(version.path / "references" / ".new-elsewhere-1-1-abc", (1, 1))
    Registry(home).attach(version, {"references/b.json": b"[]"})
    assert sorted(entry.name for entry in (version.path / "references").iterdir()) == ["a.json", "b.json"]


def test_aliases_move(home, artifact):
    """An alias stands for one version at a time, everywhere a number may stand in a tag."""
    for text in (b"a", b"b"):
        artifact.write_bytes(text)
        add(home, artifact)
    registry = Registry(home)
    assert registry.alias("churn", "production", "1") is None
    assert registry.resolve("churn:production") == ("churn", "1")
    assert registry.alias("churn", "production", "2") == "1"
    assert (registry.resolve("churn:production"), registry.resolve("churn")) == (("churn", "2"), ("churn", None))
    assert registry.resolve("churn:latest") == ("churn", "2")
    assert registry.aliases("churn") == {"production": "2"}
    assert registry.unalias("churn", "production") == "2"
    assert registry.aliases("churn") == {}


def test_aliases_that_are_not_there(home, artifact):
    """An unknown alias or version is answered with what there is; a number is left to `get`."""
    add(home, artifact)
    registry = Registry(home)
    registry.alias("churn", "production", "1")
    with pytest.raises(VersionNotFound, match=r"no alias 'staging'; there are 1, production \(1\)"):
        registry.resolve("churn:staging")
    with pytest.raises(VersionNotFound, match="no version '4'"):
        registry.alias("churn", "production", "4")
    with pytest.raises(VersionNotFound):
        registry.unalias("churn", "staging")
    with pytest.raises(ModelNotFound):
        registry.resolve("absent:production")
    assert registry.resolve("churn:4") == ("churn", "4")


@pytest.mark.parametrize("alias", ["", "latest", "3", "Prod", "a b", "a" * 64, "../x"])
def test_impossible_aliases(home, artifact, alias):
    """What could be taken for a number, for `latest` or for a path is no alias."""
    add(home, artifact)
    with pytest.raises(InvalidName):
        Registry(home).alias("churn", alias, "1")
    assert Registry(home).aliases("churn") == {}


def test_a_version_with_an_alias_is_not_deleted(home, artifact):
    """Who deletes it must say so, and then the alias goes too: it never stands for nothing."""
    add(home, artifact)
    registry = Registry(home)
    registry.alias("churn", "production", "1")
    with pytest.raises(ModelError, match="churn:1 is not deleted, for it is called production"):
        registry.delete("churn", "1")
    registry.delete("churn", "1", force=True)
    assert (registry.versions("churn"), registry.aliases("churn")) == ([], {})


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2, "aliases": {}}', '{"format": 1, "aliases": {"a": "x"}}']
)
def test_damaged_aliases_are_refused(home, artifact, text):
    """A file that cannot be read is an error that names it; versions by number go on working."""
    add(home, artifact)
    (home / "models" / "churn" / "aliases.json").write_text(text)
    with pytest.raises(InvalidManifest, match=r"aliases\.json"):
        Registry(home).resolve("churn:production")
    assert Registry(home).get("churn", "1").tag == "churn:1"


def test_cards_can_be_corrected(home, artifact):
    """The same model again with another card is the same version with the new card; nothing else changes."""
    first = add(home, artifact, card=Card(owner="Ada"), lineage=Lineage(parent="churn:7"), attachments={"a.json": b"1"})
    again = add(home, artifact, card=Card(owner="Bob"), lineage=Lineage(parent="churn:8"))
    assert (again.tag, again.card) == (first.tag, Card(owner="Bob"))
    assert (again.lineage, again.created) == (first.lineage, first.created)
    assert again == Registry(home).get("churn") == add(home, artifact)
    assert Registry(home).attachments(again) == ["a.json"]
    assert Registry(home).describe(again, Card(owner="Eve")).card == Card(owner="Eve")


def test_what_another_serinus_wrote_stays(home, artifact):
    """Keys of a later release survive an attachment and a new card; a card that cannot be read hides no version."""
    version = add(home, artifact)
    manifest = version.path / "manifest.json"
    later = {"moon": "full", "libraries": {"numpy": "1.0"}, "card": {"poem": "…"}}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | later))
    assert Registry(home).get("churn").card == Card()
    Registry(home).attach(version, {"b.json": b"2"})
    written = json.loads(manifest.read_text())
    assert {key: written[key] for key in later} == later


def test_manifests_with_card_and_lineage_stay_readable():
    """The optional keys of format 1, as first released, are read for ever."""
    version = Registry(FIXTURE).get("churn", "2")
    assert (version.card.owner, version.card.metrics, version.card.tags) == ("Ada", {"auc": 0.93}, ("churn",))
    assert (version.lineage.parent, version.lineage.rows, version.lineage.dirty) == ("churn:1", 120, False)
    assert (version.libraries["scikit-learn"], version.size) == ("1.9.1", 17)
    assert Registry(FIXTURE).resolve("churn:production") == ("churn", "2")
