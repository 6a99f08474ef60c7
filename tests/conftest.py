"""What every test shares: a home of its own, no settings from outside, and slow tests only on purpose."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

_homes = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the developer's models, BentoML store, settings and collector out of the tests, children included."""
    homes = Path(tempfile.mkdtemp(prefix="serinus-tests-"))
    config.stash[_homes] = homes
    for name in [name for name in os.environ if name.startswith(("SERINUS_", "OTEL_"))]:
        del os.environ[name]
    os.environ["SERINUS_HOME"] = str(homes / "serinus")
    os.environ["BENTOML_HOME"] = str(homes / "bentoml")
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    if not config.option.markexpr:
        config.option.markexpr = "not slow"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the homes."""
    shutil.rmtree(config.stash[_homes], ignore_errors=True)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the repository's top folder."""
    return Path(__file__).resolve().parent.parent
