"""Tokens: each has a name and scopes; what is wrong with one never shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serinus.serving import tokens as module
from serinus.serving.auth import authorise
from serinus.serving.errors import ControlRefused, SettingsError
from serinus.serving.settings import ControlSettings, Settings, TokenSettings
from serinus.serving.tokens import Tokens

CONTROL = ControlSettings(token="root", tokens=(
    TokenSettings(name="ci", scopes=("operate",), token="ci-secret"),
    TokenSettings(name="grafana", token="look-secret"),
    TokenSettings(name="shop", scopes=("infer", "feedback"), token="shop-secret")))
SETTINGS = Settings(control=CONTROL)
JSON = {b"host": b"localhost", b"content-type": b"application/json"}


def call(secret: str, method: str = "POST", **how: Any) -> str:
    return authorise(SETTINGS, {**JSON, b"authorization": f"Bearer {secret}".encode()}, method, **how)


def test_a_token_is_good_for_its_scopes_only() -> None:
    """Who may look may not act; who may act may look; who may ask may neither."""
    assert call("ci-secret") == call("ci-secret", "GET") == "ci"
    assert call("look-secret", "GET") == "grafana"
    assert call("shop-secret", scope="feedback") == "shop"
    for secret, method in (("look-secret", "POST"), ("shop-secret", "GET"), ("shop-secret", "POST")):
        with pytest.raises(ControlRefused, match="has no scope") as caught:
            call(secret, method)
        assert caught.value.kind == "forbidden" and secret not in str(caught.value)


def test_the_first_token_may_everything_and_has_no_name() -> None:
    """`control.token` goes on as before: its holder says himself who he is."""
    assert call("root") == call("root", "GET") == call("root", scope="feedback") == ""


@pytest.mark.parametrize("secret", ["", "ci-secre", "ci-secret2", "CI-SECRET", "ci"])
def test_a_wrong_token_is_nobodys(secret: str) -> None:
    """Close is not equal, and a name is not a token."""
    with pytest.raises(ControlRefused) as caught:
        call(secret, "GET")
    assert caught.value.kind == "unauthorised"


def test_every_token_is_compared_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a comparison takes tells nothing: digests of equal length, all of them, in the same function."""
    compared = []
    real = module.hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or real(a, b))
    for secret in (b"ci-secret", b"root", b"wrong", b"x" * 10_000):
        Tokens(CONTROL).holder(b"Bearer " + secret)
    assert compared == [(32, 32)] * 16


def test_a_scheme_is_read_in_any_case() -> None:
    """RFC 9110: the scheme's case does not matter, and more space is harmless."""
    assert [Tokens(CONTROL).holder(header) for header in (b"bearer ci-secret", b"BEARER  ci-secret ", b"Basic x")] == [
        ("ci", {"operate", "read"}), ("ci", {"operate", "read"}), None]


def test_a_token_may_lie_in_a_file(tmp_path: Path) -> None:
    """A mounted secret with its line end; a missing or an empty file is told by its name."""
    path = tmp_path / "token"
    path.write_text("from-file\n")
    made = Tokens(ControlSettings(tokens=(TokenSettings(name="a", file=path),)))
    holder = made.holder(b"Bearer from-file")
    assert holder is not None and holder.name == "a" and not made.guard_inference
    for text, sentence in (("", "is empty"), (None, "cannot be read")):
        path.unlink() if text is None else path.write_text(text)
        with pytest.raises(SettingsError, match=sentence):
            Tokens(ControlSettings(tokens=(TokenSettings(name="a", file=path),)))


def test_predictions_are_guarded_when_a_token_says_so() -> None:
    """One token with the scope `infer` closes predictions to the others; none leaves them open."""
    assert Tokens(CONTROL).guard_inference
    assert not Tokens(ControlSettings(token="root")).guard_inference


def test_no_message_shows_a_token(tmp_path: Path) -> None:
    """Neither the text of settings nor the sentence about a wrong one."""
    assert "secret" not in repr(SETTINGS) and "root" not in repr(SETTINGS)
    for tokens in ([{"name": "bad name", "token": "ci-secret"}], [{"name": "a", "token": "ci-secret", "scopes": ["x"]}],
                   [{"name": "a", "token": "ci-secret", "file": "f"}], [{"name": "a"}], [{"token": "ci-secret"}]):
        with pytest.raises(SettingsError, match=r"Setting 'control\.tokens") as caught:
            Settings.resolve(environ={"SERINUS_CONTROL_TOKENS": json.dumps(tokens)})
        assert "ci-secret" not in str(caught.value)


def test_tokens_in_a_file_and_in_the_environment(tmp_path: Path) -> None:
    """A list of tables in TOML, the same as JSON in a variable; both survive being handed to workers."""
    config = tmp_path / "serinus.toml"
    config.write_text('[[control.tokens]]\nname = "ci"\nscopes = ["operate"]\ntoken = "t"\n')
    given = {"SERINUS_CONTROL_TOKENS": '[{"name": "ci", "scopes": ["operate"], "token": "t"}]'}
    from_file, from_variable = Settings.resolve(config=config, environ={}), Settings.resolve(environ=given)
    assert from_file.control == from_variable.control == Settings.model_validate_json(
        from_file.model_dump_json()).control
