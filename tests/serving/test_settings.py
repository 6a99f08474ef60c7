"""Settings: one tree out of four sources, each of which can be told from the message when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serinus.models.registry import default_home
from serinus.serving.errors import SettingsError
from serinus.serving.settings import Settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "serinus.toml"
    path.write_text(
        'home = "/srv/serinus"\n[server]\nport = 4000\nworkers = 4\nhost = "10.0.0.1"\nmodels = ["wine:2"]\n'
    )
    return path


def refused(**sources: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.resolve(**({"environ": {}} | sources))
    return str(caught.value)


def test_defaults_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any source: loopback, every answer recorded, no control token."""
    monkeypatch.chdir(tmp_path)
    settings = Settings.resolve(environ={})
    assert (settings.server.host, settings.server.port, settings.server.workers) == ("127.0.0.1", 3000, 2)
    assert (settings.log.enabled, settings.log.on_error, settings.control.token) == (True, "refuse", None)


def test_the_nearer_source_wins(config: Path) -> None:
    """Defaults < file < environment < flags; a flag that was not given says nothing."""
    settings = Settings.resolve(
        config=config,
        environ={"SERINUS_SERVER_PORT": "5000", "SERINUS_SERVER_WORKERS": "6"},
        flags={"server.port": 6000, "server.host": None},
    )
    assert settings.server.port == 6000
    assert settings.server.workers == 6
    assert settings.server.host == "10.0.0.1"
    assert settings.limits.rows == 10_000
    assert settings.home == Path("/srv/serinus")


def test_a_file_in_the_working_folder_is_read(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its one name."""
    monkeypatch.chdir(config.parent)
    assert Settings.resolve(environ={}).server.port == 4000


def test_a_list_in_the_environment_has_commas() -> None:
    """Spaces and empty parts do not count."""
    settings = Settings.resolve(environ={"SERINUS_SERVER_MODELS": "wine:2, churn,,", "SERINUS_LIMITS_BODY_BYTES": "10"})
    assert settings.server.models == ("wine:2", "churn")
    assert settings.limits.body_bytes == 10


def test_an_empty_variable_is_unset() -> None:
    """As a shell or a compose file leaves it; above all, no empty token opens the control plane."""
    settings = Settings.resolve(environ={"SERINUS_CONTROL_TOKEN": "", "SERINUS_HOME": "", "SERINUS_SERVER_PORT": ""})
    assert settings.control.token is None
    assert settings.home == default_home()
    assert "'control.token' (from flag)" in refused(flags={"control.token": ""})


def test_other_variables_are_left_alone() -> None:
    """Those of the processes among themselves, and those of other programs."""
    assert Settings.resolve(environ={"SERINUS_RUN": "/x", "SERINUS_URL": "u", "PATH": "/bin"}).server.port == 3000


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ({"flags": {"server.prot": 1}}, "Unknown setting 'server.prot' (from flag). Did you mean 'server.port'?"),
        (
            {"environ": {"SERINUS_SERVER_PROT": "1"}},
            "Unknown setting 'server.prot' (from SERINUS_SERVER_PROT). Did you mean 'server.port'?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(sources: dict[str, Any], sentence: str) -> None:
    """A typing error is not a setting."""
    assert refused(**sources) == sentence


def test_an_unknown_key_like_no_other_gets_the_list() -> None:
    """Of all there are."""
    said = refused(flags={"zzz": 1})
    assert said.startswith("Unknown setting 'zzz' (from flag). Known: alerts.deadline_seconds, alerts.for_seconds, ")
    assert "server.port" in said


def test_an_unknown_key_of_a_file_names_the_file(config: Path) -> None:
    """Also one that stands in the wrong section."""
    config.write_text("[limits]\nport = 1\n")
    assert refused(config=config).startswith(f"Unknown setting 'limits.port' (from {config}).")


@pytest.mark.parametrize(
    ("sources", "key", "source", "got"),
    [
        ({"environ": {"SERINUS_SERVER_PORT": "http"}}, "server.port", "SERINUS_SERVER_PORT", "'http'"),
        ({"flags": {"server.workers": 0}}, "server.workers", "flag", "0"),
        ({"flags": {"limits.deadline_seconds": 0}}, "limits.deadline_seconds", "flag", "0"),
        ({"environ": {"SERINUS_LOG_ON_ERROR": "ignore"}}, "log.on_error", "SERINUS_LOG_ON_ERROR", "'ignore'"),
    ],
)
def test_a_bad_value_names_its_source(sources: dict[str, Any], key: str, source: str, got: str) -> None:
    """Which key, from where, what was wanted, what came."""
    said = refused(**sources)
    assert said.startswith(f"Setting {key!r} (from {source}): ")
    assert said.endswith(f"got {got}.")


def test_a_bad_value_of_a_file_names_the_file(config: Path) -> None:
    """The nearer source is the one to blame."""
    config.write_text("[server]\nport = 99999\n")
    assert f"Setting 'server.port' (from {config}): input should be less than or equal to 65535" in refused(
        config=config
    )
    assert "(from flag)" in refused(config=config, flags={"server.port": -1})


def test_a_section_is_not_a_value(config: Path) -> None:
    """`server = 3` is neither."""
    config.write_text("server = 3\n")
    assert refused(config=config).startswith("Unknown setting 'server'")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """It was asked for, so it is not passed over."""
    assert "no such file" in refused(config=tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("port = = 3")
    assert "is not valid TOML" in refused(config=tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b'host = "\xe9"')
    assert "is not valid TOML" in refused(config=tmp_path / "latin.toml")


def test_settings_are_not_edited() -> None:
    """All processes have the same."""
    with pytest.raises(ValueError, match="frozen"):
        Settings.resolve(environ={}).server.port = 1  # type: ignore[misc]


def test_settings_are_handed_over_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """A child process has exactly the parent's, whatever its own environment says."""
    settings = Settings.resolve(config=config, environ={"SERINUS_CONTROL_TOKEN": "s3cret"})
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    monkeypatch.setenv("SERINUS_SETTINGS", str(tmp_path / "settings.json"))
    monkeypatch.setenv("SERINUS_SERVER_PORT", "1")
    assert Settings.handed_over() == settings


def test_a_process_whose_server_has_ended_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was starting when the run folder went ends with a sentence."""
    monkeypatch.setenv("SERINUS_SETTINGS", str(tmp_path / "settings.json"))
    with pytest.raises(SystemExit, match=r"settings\.json is gone: the server .* has ended"):
        Settings.handed_over()


NOTIFIERS = {"ops": {"kind": "slack", "url_env": "HOOK"}, "am": {"kind": "alertmanager", "labels": {"team": "ml"}}}


def test_a_models_referral_stands_in_a_table_of_its_own(tmp_path: Path) -> None:
    """In the file by its name; a limit that cannot be is refused by its key."""
    path = tmp_path / "serinus.toml"
    path.write_text("[referral]\nnovelty_p = 0.01\n[referral.by_model.fraud]\nconfidence = 0.9\n")
    referral = Settings.resolve(config=path, environ={}).referral
    assert (referral.novelty_p, referral.by_model["fraud"].confidence) == (0.01, 0.9)
    assert "'referral.by_model.fraud.confidence'" in refused(
        environ={"SERINUS_REFERRAL_BY_MODEL": '{"fraud": {"confidence": 2}}'})


def test_notifiers_have_names_of_the_users_own(tmp_path: Path) -> None:
    """As tables in the file, or as JSON in the environment."""
    path = tmp_path / "serinus.toml"
    path.write_text('[alerts.notifiers.ops]\nkind = "slack"\nurl_env = "HOOK"\n'
                    '[alerts.notifiers.am]\nkind = "alertmanager"\nlabels = {team = "ml"}\n')
    assert Settings.resolve(config=path, environ={}).alerts.notifiers == NOTIFIERS
    environ = {"SERINUS_ALERTS_NOTIFIERS": json.dumps(NOTIFIERS)}
    assert Settings.resolve(environ=environ).alerts.notifiers == NOTIFIERS
    assert "'alerts.notifiers' (from SERINUS_ALERTS_NOTIFIERS)" in refused(environ={"SERINUS_ALERTS_NOTIFIERS": "ops"})


def test_a_time_of_day_is_one() -> None:
    """From 00:00 to 23:59."""
    assert Settings.resolve(environ={"SERINUS_RETRAINING_AT": "23:59"}).retraining.at == "23:59"
    assert "'retraining.at'" in refused(environ={"SERINUS_RETRAINING_AT": "24:00"})
