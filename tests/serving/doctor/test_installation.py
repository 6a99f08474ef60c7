"""Libraries that are missing, or not in the range that Serinus asks for."""

from __future__ import annotations

from importlib.metadata import version

from packaging.requirements import Requirement

from serinus.serving.doctor.installation import look_at_installation, look_at_libraries, requirements


def test_here_everything_is_in_order() -> None:
    """The environment of the tests is one that Serinus supports."""
    assert {check.state for check in look_at_installation()} == {"ok"}


def test_what_is_asked_for_is_known() -> None:
    """From the metadata of an installation or from a checkout, without what only extras need."""
    names = {Requirement(line).name for line in requirements()}
    assert {"bentoml", "scikit-learn", "onnxruntime", "uvloop"} <= names and "pytest" not in names


def test_a_library_out_of_its_range_is_a_problem() -> None:
    """With what is there, what is wanted, and the command."""
    (found,) = look_at_libraries(["numpy>=1", "bentoml>=99"])
    assert found.state == "problem" and found.advice == "pip install 'bentoml>=99'"
    assert found.says == f"bentoml is {version('bentoml')}, wanted >=99."


def test_a_library_that_is_not_there_is_a_problem() -> None:
    """Unless it is for another platform."""
    (found,) = look_at_libraries(["no-such-library>=1", "another-one>=1; sys_platform == 'win32'"])
    assert found.says == "no-such-library is not installed, wanted >=1."


def test_unknown_ranges_are_told() -> None:
    """Sources that were copied by hand have no metadata."""
    assert [check.state for check in look_at_libraries([])] == ["warning"]
