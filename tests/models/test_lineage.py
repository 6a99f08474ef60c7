"""Where a version comes from is gathered as well as it can be, and never fails a registration."""

import subprocess

import pandas as pd
import pytest

from serinus.models import Lineage, register
from serinus.models.lineage import data_digest


def _git(folder, *words):
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=folder, check=True,
                   capture_output=True)  # fmt: skip


@pytest.fixture
def repository(tmp_path):
    """A folder with one commit."""
    folder = tmp_path / "code"
    folder.mkdir()
    _git(folder, "init")
    (folder / "train.py").write_text("1")
    _git(folder, "add", "train.py")
    _git(folder, "commit", "-m", "one")
    return folder


def test_the_commit_of_the_working_folder(repository):
    """HEAD is kept, and whether what ran is what was committed."""
    head = (repository / ".git" / "refs" / "heads").iterdir().__next__().read_text().strip()
    clean = Lineage().completed(folder=repository)
    assert (clean.commit, clean.dirty) == (head, False)
    (repository / "train.py").write_text("2")
    assert Lineage().completed(folder=repository).dirty is True


def test_without_git_nothing_is_known(repository, tmp_path, monkeypatch):
    """No repository, no commit in it, or no git at all: the commit is unknown, and nothing fails."""
    assert Lineage().completed(folder=tmp_path).commit is None
    (tmp_path / "empty").mkdir()
    _git(tmp_path / "empty", "init")
    assert Lineage().completed(folder=tmp_path / "empty").commit is None
    monkeypatch.setenv("PATH", "")
    assert Lineage().completed(folder=repository).commit is None


def test_a_repositorys_settings_run_nothing(repository, tmp_path):
    """Asking git must not start the program that a checked-out repository names as its file system monitor."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    _git(repository, "config", "core.fsmonitor", str(hook))
    assert Lineage().completed(folder=repository).commit
    assert not (tmp_path / "ran").exists()


def test_what_the_caller_knows_stays():
    """Gaps are filled; what was given is not replaced."""
    given = Lineage(data="sha256:0", commit="abc", who="me", parent="iris:1", step="pruned")
    done = given.completed(pd.DataFrame({"a": [1]}))
    assert (done.data, done.rows, done.commit, done.who, done.parent) == ("sha256:0", None, "abc", "me", "iris:1")


def test_the_digest_of_data_is_that_of_its_content():
    """Equal rows have one digest whatever their index; another value, name, order or dtype has another."""
    frame = pd.DataFrame({"a": [1.0, None], "b": ["x", None], "c": pd.Categorical(["u", "v"])})
    other = [frame.rename(columns={"a": "z"}), frame.iloc[::-1], frame.astype({"a": "float32"}), frame.assign(b="y")]
    digests = {data_digest(table) for table in other}
    assert data_digest(frame.set_axis([7, 8])) == data_digest(frame)
    assert len(digests | {data_digest(frame)}) == 5
    assert data_digest(pd.DataFrame({"a": [[1], [2]]})) is None


def test_json_of_another_serinus_is_read():
    """What is unknown here is passed over, what is missing is unknown."""
    assert Lineage(parent="a:1") == Lineage.from_json({"parent": "a:1", "moon": "full"})


def test_a_registered_model_knows_its_data(home, pipeline, people):
    """The reference's digest and rows, and what the caller added, are in the manifest for ever."""
    version = register(pipeline, "churn", reference=people, target="buys", home=home,
                       lineage=Lineage(parent="churn:9", step="pruned"))  # fmt: skip
    lineage = version.lineage
    assert (lineage.data, lineage.rows) == (data_digest(people), len(people))
    assert (lineage.parent, lineage.step) == ("churn:9", "pruned")
    assert lineage.who
