"""Code runs only from artifacts whose digest the user trusts."""

import multiprocessing
import stat

import pytest

from serinus.models import ModelError, Trust

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def test_nothing_is_trusted_at_first(home):
    """A home without trust.toml trusts nothing, and asking creates nothing."""
    assert ONE not in Trust(home)
    assert ONE not in Trust()
    assert not home.exists()


def test_extra_digests_hold_for_this_trust_only(home):
    """A digest given by a flag is not remembered."""
    assert ONE in Trust(home, [ONE])
    assert ONE not in Trust(home)


def test_remembered_digests_stay(home):
    """What is remembered is trusted by everyone who reads the home; the reason may hold any text."""
    trust = Trust(home)
    trust.remember(ONE, 'said "yes"\nand \\ 😀\x7f')
    trust.remember(ONE, "again")
    trust.remember(TWO, "why not")
    assert [ONE, TWO] == list(Trust(home)) == list(trust)


def test_the_file_is_private_and_keeps_comments(home):
    """trust.toml is readable by its owner only, and hand-written comments survive."""
    home.mkdir()
    (home / "trust.toml").write_text(f'# by hand\n[[trusted]]\ndigest = "{ONE}"\n')
    Trust(home).remember(TWO, "flag")
    assert stat.S_IMODE((home / "trust.toml").stat().st_mode) == 0o600
    assert (home / "trust.toml").read_text().startswith("# by hand")
    assert {ONE, TWO} == set(Trust(home))


@pytest.mark.parametrize("text", ["[[trusted", "[[trusted]]\nwhy = 'x'", "trusted = 3", "trusted = ['x']"])
def test_damaged_files_are_refused(home, text):
    """A trust.toml that cannot be read is an error that names it, not an empty trust."""
    home.mkdir()
    (home / "trust.toml").write_text(text)
    with pytest.raises(ModelError, match=r"trust\.toml"):
        Trust(home)


def test_files_that_everybody_may_write_prove_nothing(home):
    """A world-writable trust.toml is refused."""
    home.mkdir()
    (home / "trust.toml").write_text("")
    (home / "trust.toml").chmod(0o666)
    with pytest.raises(ModelError, match="chmod 600"):
        Trust(home)


@pytest.mark.parametrize("digest", ["", "abc", "sha256:" + "A" * 64, "sha256:" + "1" * 63, "*"])
def test_only_digests_are_trusted(home, digest):
    """There is no wildcard: what is not a digest is refused."""
    with pytest.raises(ModelError, match="no digest"):
        Trust(home, [digest])


def _remember(home, digest):
    Trust(home).remember(digest, "race")


def test_concurrent_writers_lose_nothing(home):
    """Processes that remember at once all get in."""
    digests = ["sha256:" + f"{number:064x}" for number in range(8)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_remember, args=(home, digest)) for digest in digests]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert digests == list(Trust(home))
