"""A tag is `name` or `name:version`; a digest is what identifies an artifact's bytes."""

import hashlib

import pytest

from serinus.models import InvalidName, parse_tag
from serinus.models.version import ArtifactFile, digest_of, files_in


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("churn", ("churn", None)),
        ("churn:12", ("churn", "12")),
        ("0a.b_c-d:1", ("0a.b_c-d", "1")),
        ("a" * 63, ("a" * 63, None)),
    ],
)
def test_tags(tag, parts):
    """A tag splits into name and version."""
    assert parts == parse_tag(tag)


@pytest.mark.parametrize(
    "tag", ["", ":1", "Churn", "-a", "a b", "a" * 64, "churn:", "churn:0", "churn:01", "churn:x", "a:1:2", "churn:1\n"]
)
def test_impossible_tags(tag):
    """What breaks the naming rule is refused."""
    with pytest.raises(InvalidName):
        parse_tag(tag)


def test_digest_of_one_file(tmp_path):
    """One file has the plain SHA-256 of its bytes, whatever it is called."""
    (tmp_path / "a").write_bytes(b"model")
    expected = "sha256:" + hashlib.sha256(b"model").hexdigest()
    assert expected == digest_of(files_in(tmp_path)) == digest_of([ArtifactFile.of(tmp_path / "a", tmp_path)])


def test_digest_of_several_files(tmp_path):
    """Several files have the SHA-256 over their sorted paths, sizes and digests."""
    (tmp_path / "z").write_bytes(b"1")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"22")
    one, two = (hashlib.sha256(data).hexdigest() for data in (b"22", b"1"))
    lines = f"sub/a\t2\t{one}\nz\t1\t{two}\n"
    assert "sha256:" + hashlib.sha256(lines.encode()).hexdigest() == digest_of(files_in(tmp_path))
    assert digest_of(files_in(tmp_path)) == digest_of(reversed(files_in(tmp_path)))
