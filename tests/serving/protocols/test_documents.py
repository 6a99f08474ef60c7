"""JSON of answers: what JSON lacks has a name, and the rest is orjson's."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from serinus.serving.protocols.documents import SHORT, dumps, holds


@pytest.mark.parametrize("code", "efd")
def test_numbers_that_json_lacks_are_strings(code: str) -> None:
    """In arrays of every float type, alone and as single numbers; their neighbours keep their digits."""
    array = np.array([0.1, np.nan, np.inf, -np.inf], dtype=code)
    usual = orjson.dumps(array[:1], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    expected = b"[" + usual + b',"NaN","Infinity","-Infinity"]'
    assert dumps(array) == dumps(list(array)) == expected
    assert dumps({"a": [{"b": array.reshape(2, 2)}]}) == b'{"a":[{"b":[[%b,"NaN"],["Infinity","-Infinity"]]}]}' % usual


@pytest.mark.parametrize("document", [None, {"a": None}, ["null", None, 1.5, True], {"null": np.arange(3)}, "null"])
def test_null_stays_null(document: Any) -> None:
    """So do texts that hold the word."""
    assert dumps(document) == orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def test_pythons_own_numbers_too() -> None:
    """Not only numpy's."""
    assert dumps({"a": (float("nan"), float("-inf"), 2.5)}) == b'{"a":["NaN","-Infinity",2.5]}'


@pytest.mark.parametrize("word", [b"", b"u", b"nul", b"nullunull"])
@pytest.mark.parametrize("others", [0, 1, 50])
def test_a_word_is_found_among_its_letters(word: bytes, others: int) -> None:
    """However many other words have its rarest letter, at the very beginning and end too."""
    text = b"u,1" * others + b"1.5," * SHORT + word + b"u" * others
    assert holds(text, b"null", b"u") == (b"null" in text) == (len(word) > 3)


def test_a_number_that_json_lacks_is_found_in_a_long_answer() -> None:
    """Behind thousands of others, and behind many words with the same letters."""
    array = np.append(np.zeros(SHORT), np.nan)
    assert orjson.loads(dumps({"u": array, "uuu": ["u"] * 100}))["u"][-1] == "NaN"
