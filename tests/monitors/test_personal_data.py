"""Personal columns are found by name and value, and their values made unrecognisable."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from serinus.monitors.personal_data import (
    Finding,
    Redactor,
    coarse,
    found_in,
    is_card,
    is_iban,
    kind_of_name,
    kind_of_texts,
)

EMAILS = ["ana@example.org", "b.c+d@mail.example.co.uk", "x_1@a-b.io", "o'hara@example.com"]


@pytest.mark.parametrize(
    "number", ["4111 1111 1111 1111", "5500-0055-5555-5559", "378282246310005", "6011000990139424", "30569309025904"]
)
def test_published_card_numbers_are_cards(number: str) -> None:
    """Test numbers that card schemes publish have Luhn's check digit; changed in any one digit they have not."""
    assert is_card(number)
    for place, sign in enumerate(number):
        if sign.isdigit():
            assert not is_card(number[:place] + str((int(sign) + 1) % 10) + number[place + 1 :])


def test_random_numbers_are_rarely_cards() -> None:
    """The check digit of a random number is right one time in ten, which is below the share that is asked for."""
    rng = random.Random(5)
    numbers = [str(rng.randrange(10**15, 10**16)) for _ in range(2_000)]
    assert 0.07 < sum(map(is_card, numbers)) / len(numbers) < 0.13
    assert kind_of_texts(numbers) is None
    assert not is_card("0000000000000000")


@pytest.mark.parametrize(
    "text", ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "CH9300762011623852957", "NO9386011117947"]
)
def test_published_ibans_are_ibans(text: str) -> None:
    """Examples of the IBAN registry leave 1 when divided by 97; with two digits swapped they do not."""
    assert is_iban(text)
    assert not is_iban(text[:-2] + text[-1] + text[-2]) or text[-1] == text[-2]
    assert not is_iban(text[:2] + f"{(int(text[2:4]) + 1) % 100:02d}" + text[4:])


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (EMAILS, "e-mail address"),
        (["+41 44 668 18 00", "+1 (212) 555-0142", "0044 20 7946 0958"], "phone number"),
        (["192.168.0.1", "10.0.0.7", "2001:db8::1"], "IP address"),
        (["write to ana@example.org please", "no reply from joe@example.com", "me: z@y.org", "fine"], "e-mail address"),
        (["Bern", "Basel", "Chur"], None),
        (["2024-01-01", "2024-02-03", "2023-12-31"], None),
        (["1234567", "7654321", "5550142"], None),
        (["3.1.4", "2.7.1", "1.0.0"], None),
        ([], None),
        (["ana@example.org"], None),
    ],
)
def test_values_tell_what_they_are(texts: list[str], kind: str | None) -> None:
    """Most values, or some texts that hold one, are enough; two values are not."""
    assert kind_of_texts(texts) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ssn", "social security number"),
        ("PassportNumber", "passport"),
        ("customer_email", "e-mail address"),
        ("Date of birth", "date of birth"),
        ("client.ip", "IP address"),
        ("phone_model", None),
        ("account_age", None),
        ("ship", None),
        ("age", None),
        ("creditCard", "payment card"), ("cc", None),
    ],
)
def test_names_tell_what_they_are(name: str, kind: str | None) -> None:
    """Whole words in any spelling; a word within another name means nothing."""
    assert kind_of_name(name) == kind


def test_columns_of_a_reference_are_found() -> None:
    """In their order, with what they were recognised by; numbers may be cards, and gaps are passed over."""
    frame = pd.DataFrame(
        {
            "contact": [*EMAILS, None],
            "age": [1.0, 2.0, 3.0, 4.0, 5.0],
            "paid": [4111111111111111, 5500005555555559, 378282246310005, 6011000990139424, 30569309025904],
            "surname": ["A", "B", "C", "D", "E"],
            "mobile": [True, False, True, True, False],
        }
    )
    assert found_in(frame) == [
        Finding("contact", "e-mail address", "its values"),
        Finding("paid", "payment card", "its values"),
        Finding("surname", "name of a person", "its name"),
    ]
    assert found_in(pd.DataFrame()) == []
    assert found_in(pd.DataFrame({"a": [None, None], "b": [np.nan, np.nan]})) == []


def test_hostile_texts_are_nothing() -> None:
    """No pattern takes more than linear time: at exponential time this test would not end."""
    hostile = ["a@" * 1_000, "1 " * 1_000, "GB82" + " A" * 990, "+1" + "-(" * 990, "9" * 2_000, "a." * 999 + "@"]
    assert kind_of_texts(hostile * 20) is None


def test_a_hash_is_the_same_for_the_same_value_and_key() -> None:
    """So that records can be joined; under another deployment's key it is another one."""
    texts = np.array(["ana", "ben", "ana", None], dtype=object)
    first, again, other = (Redactor({"who": "hash"}, key).apply({"who": texts})["who"] for key in (b"k", b"k", b"l"))
    assert first.tolist() == again.tolist() != other.tolist()
    assert first[0] == first[2] != first[1] and first[0].startswith("hash:") and "ana" not in first[0]
    assert first[3] is None


def test_two_redactors_are_one() -> None:
    """Of what either knows; where both know a field, the first one's way counts, and each value is changed once."""
    one, other = Redactor({"who": "coarsen"}, b""), Redactor({"who": "hash", "age": "drop"}, b"k")
    arrays = {"who": np.array(["1979-04-12"], dtype=object), "age": np.array([4.0]), "x": np.array([1.0])}
    found = (one | other).apply(arrays)
    assert found["who"].tolist() == ["1979"] and np.isnan(found["age"]).all() and found["x"] is arrays["x"]
    assert (other | one).apply(arrays)["who"].tolist() == other.apply(arrays)["who"].tolist()


def test_untagged_arrays_are_the_same_objects() -> None:
    """Nothing is copied that need not be changed."""
    arrays = {"who": np.array(["ana"], dtype=object), "age": np.array([4.0])}
    redactor = Redactor({"who": "drop"}, b"k")
    assert redactor.apply(arrays)["age"] is arrays["age"]
    assert redactor.apply({"age": arrays["age"]})["age"] is arrays["age"]
    assert redactor.apply(arrays)["who"].tolist() == [None]
    assert arrays["who"].tolist() == ["ana"]
    assert bool(redactor) and not Redactor({}, b"k")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("how", ["hash", "drop", "coarsen"])
def test_every_type_can_be_redacted(dtype: type, how: str) -> None:
    """Numbers, too: none of them is left, and the shape stays."""
    array = np.array([[37, 199], [51, 12]]).astype(dtype)
    redacted = Redactor({"n": how}, b"k").apply({"n": array})["n"]
    assert redacted.shape == array.shape
    if dtype is not np.bool_:
        assert not set(array.ravel().tolist()) & set(redacted.ravel().tolist())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (48213.77, 40000.0), (-0.0371, -0.03), (0.0, 0.0), (95, 90), (-95, -90), (255, 200), (True, True),
        (1e300, 1e300), (1.99e-300, 1e-300), ("1979-04-12", "1979"), ("ana@example.org", "…@example.org"),
        ("192.168.7.9", "192.168.0.0/16"), ("2001:db8:1:2::3", "2001:db8::/32"), ("Ana", "A…"), ("", ""),
    ],
)  # fmt: skip
def test_a_coarse_value_is_one_that_many_share(value: object, expected: object) -> None:
    """Numbers keep one digit, dates their year, addresses their domain or network."""
    assert coarse(value) == expected
    if isinstance(value, float):
        found = Redactor({"n": "coarsen"}, b"k").apply({"n": np.array([value])})["n"]
        assert found.tolist() == pytest.approx([expected], rel=1e-12)
    texts = Redactor({"n": "coarsen"}, b"k").apply({"n": np.array([value], dtype=object)})["n"]
    assert texts.tolist() == [expected]


def test_gaps_and_infinities_are_no_secret() -> None:
    """They stay what they are."""
    found = Redactor({"n": "coarsen"}, b"k").apply({"n": np.array([np.nan, np.inf, -np.inf, 0.0])})["n"]
    np.testing.assert_array_equal(found, [np.nan, np.inf, -np.inf, 0.0])
