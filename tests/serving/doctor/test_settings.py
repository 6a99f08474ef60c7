"""What gave a setting, and what happens when one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.serving.doctor.settings import look_at_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no settings from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SERINUS_HOME")
    return tmp_path


def test_each_setting_names_what_gave_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags go before the environment, and that before the file; a token is not shown."""
    (folder / "serinus.toml").write_text("[server]\nport = 1\nworkers = 3\n[control]\ntoken = 'secret'\n"
                                         "[log]\nsegment_bytes = 5000\n")
    monkeypatch.setenv("SERINUS_SERVER_PORT", "2")
    monkeypatch.setenv("SERINUS_HOME", "/elsewhere")
    settings, checks = look_at_settings(None, folder)
    assert (settings.server.port, settings.home) == (2, folder)
    assert [check.says for check in checks] == [
        "control.token is set, by serinus.toml.", f"home is {folder}, by a flag.",
        "log.segment_bytes is 5000, by serinus.toml.", "server.port is 2, by SERINUS_SERVER_PORT.",
        "server.workers is 3, by serinus.toml."]


def test_addresses_of_notifiers_are_not_shown(folder: Path) -> None:
    """They are secrets, or hold them."""
    (folder / "serinus.toml").write_text('[alerts.notifiers.ops]\nkind = "slack"\nurl = "https://h/s3cret"\n')
    (found,) = look_at_settings(None, None)[1]
    assert found.says == "alerts.notifiers is set, by serinus.toml."


def test_defaults_are_one_line() -> None:
    """Nothing was set."""
    (found,) = look_at_settings(None, None)[1]
    assert found.state == "ok" and "default" in found.says


@pytest.mark.parametrize(("text", "word"), [("[server]\nprot = 1", "Did you mean 'server.port'"),
                                            ("[server]\nport = 'x'", "server.port"), ("[", "not valid TOML")])
def test_a_wrong_setting_is_a_problem(folder: Path, text: str, word: str) -> None:
    """The rest is looked at all the same, on the home that was named."""
    (folder / "mine.toml").write_text(text)
    settings, (found,) = look_at_settings(folder / "mine.toml", folder)
    assert found.state == "problem" and word in found.says and settings.home == folder
