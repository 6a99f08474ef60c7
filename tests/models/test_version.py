"""A tag is `name` or `name:version`; a digest is what identifies an artifact's bytes."""

import hashlib

import pytest

from serinus.models import InvalidName, parse_tag
from serinus.models.version import ArtifactFile, check_alias, digest_of, files_in, split_tag


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


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("churn", ("churn", None)),
        ("churn:12", ("churn", "12")),
        ("churn:production", ("churn", "production")),
        ("churn:latest", ("churn", "latest")),
        ("churn:a.b_c-d", ("churn", "a.b_c-d")),
    ],
)
def test_tags_may_have_aliases(tag, parts):
    """An alias, or `latest`, stands where a version may stand."""
    assert parts == split_tag(tag)


@pytest.mark.parametrize("tag", ["churn:", "churn:0", "churn:Prod", "churn:-a", "churn:a b", "churn:a:b", "churn:1a"])
def test_what_is_neither_number_nor_alias_is_refused(tag):
    """Numbers and aliases cannot be taken for one another."""
    with pytest.raises(InvalidName):
        split_tag(tag)


def test_latest_is_no_alias():
    """It always means the highest version."""
    assert check_alias("newest") == "newest"
    with pytest.raises(InvalidName, match="always means the highest version"):
        check_alias("latest")


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
