"""What both arms answered, kept for truths that come later."""

from __future__ import annotations

from pathlib import Path

import pytest

from serinus.serving.rollout.answers import RATE, Answered, AnswerWriter, Given, answers_in, blank_answers, read_answers
from serinus.serving.rollout.tally import Window
from serinus.serving.shadow.slices import LEARNT_FROM

WINDOW = Window(1, 3_000_000)


def given(number: int, *, label: int = 0, key: int = 0, arm: int = 0) -> Given:
    return Given(number.to_bytes(16), key, label, WINDOW, arm)


def region(number: int) -> dict[str, str]:
    return {"region": "north" if number % 5 == 0 else "south"}


def kept(folder: Path) -> Answered:
    ((path,),) = answers_in(folder).values()
    found = read_answers(path)
    assert found is not None
    return found


@pytest.fixture
def writer(tmp_path: Path) -> AnswerWriter:
    return AnswerWriter(tmp_path / "pairs", "20261121-wine-ab12", "00ab", "wine", ("red", "white"))


def test_answers_are_read_as_written(writer: AnswerWriter, tmp_path: Path) -> None:
    """With slices learnt from the first ones, which are told apart too; no file is made before that."""
    for number in range(LEARNT_FROM + 10):
        assert answers_in(tmp_path / "pairs") == {} or number >= LEARNT_FROM
        writer.add(given(number, label=number % 2, key=7 * number, arm=number % 3 == 0), region(number))
    found = kept(tmp_path / "pairs")
    assert list(answers_in(tmp_path / "pairs")) == [found.rollout_id] == ["20261121-wine-ab12"]
    assert (found.model, found.labels, found.slices) == ("wine", ("red", "white"), ("region=south", "region=north"))
    rows = found.rows
    assert rows["key"].tolist() == [7 * number for number in range(LEARNT_FROM + 10)]
    assert rows["slices"].tolist() == [2 if number % 5 == 0 else 1 for number in range(LEARNT_FROM + 10)]
    assert rows[3].tolist() == ((3).to_bytes(16), 21, 1, 1, WINDOW.bucket, 1, 1)


def test_few_answers_are_kept_at_the_end(writer: AnswerWriter, tmp_path: Path) -> None:
    """Fewer than slices are learnt from; without slices then."""
    writer.add(given(1), region(1))
    writer.close()
    assert (len(kept(tmp_path / "pairs").rows), kept(tmp_path / "pairs").slices) == (1, ())
    writer.add(given(2), region(2))
    assert len(kept(tmp_path / "pairs").rows) == 1, "a request that ends after its rollout is not kept"


def test_so_many_a_second_are_wanted(writer: AnswerWriter) -> None:
    """The next second has as many again."""
    assert [sum(writer.wants(second * 10**9 + n) for n in range(200)) for second in (7, 8)] == [RATE, RATE]


def test_nothing_is_wanted_of_a_version_without_classes(tmp_path: Path) -> None:
    """There is no right and wrong then."""
    assert not AnswerWriter(tmp_path, "r1", "00ab", "wine", ()).wants(1)


def test_no_room_is_told_once_and_harms_nobody(writer: AnswerWriter, tmp_path: Path,
                                               caplog: pytest.LogCaptureFixture) -> None:
    """The request goes on."""
    (tmp_path / "pairs").write_text("not a folder")
    for number in range(LEARNT_FROM + 5):
        if writer.wants(number * 10**9):
            writer.add(given(number), region(number))
    assert caplog.text.count("no room for the answers") == 1


def test_a_torn_last_row_is_passed_over(writer: AnswerWriter, tmp_path: Path) -> None:
    """Its writer died in mid-write."""
    for number in range(LEARNT_FROM + 1):
        writer.add(given(number), region(number))
    with writer.path.open("ab") as stream:
        stream.write(b"\1" * 17)
    assert len(kept(tmp_path / "pairs").rows) == LEARNT_FROM + 1


def test_a_persons_answers_are_overwritten(writer: AnswerWriter, tmp_path: Path) -> None:
    """Id, key and all, while the file is still written; the others stay."""
    for number in range(1, LEARNT_FROM + 3):
        writer.add(given(number, key=number), region(number))
    assert blank_answers(writer.path, {((7).to_bytes(16), 0), ((8).to_bytes(16), 1)}) == 1
    writer.add(given(999, key=999), region(999))
    keys = kept(tmp_path / "pairs").rows["key"].tolist()
    assert keys == [0 if number == 7 else number for number in range(1, LEARNT_FROM + 3)] + [999]
    assert kept(tmp_path / "pairs").rows["uuid"][6].tobytes() == bytes(16)
