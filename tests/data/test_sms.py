"""The messages: how they are read, and that no message is on both sides of a split."""

import pytest

from aigc_lab.data.labelled import Labelled
from aigc_lab.data.sms import content_key, read_messages, split_messages, without_copies

MESSAGES = [
    Labelled("Call 0800 123 now!", 1),
    Labelled("see you at 5", 0),
    Labelled("CALL 0900  555 now!", 1),
    Labelled("See you at 8", 0),
    *[Labelled(f"message {chr(97 + n)}", n % 2) for n in range(20)],
]


def test_reading(tmp_path):
    path = tmp_path / "some.tsv"
    path.write_text("ham\tOk, see you.\nspam\tWIN a prize\tnow £\n", encoding="utf-8")
    assert read_messages(path) == [
        Labelled("Ok, see you.", 0),
        Labelled("WIN a prize\tnow £", 1),
    ]
    for bad in ("eggs\tOk", "ham Ok", "ham\t ", ""):
        path.write_text(f"ham\tOk\n{bad}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"line 2 of .* is not 'ham' or 'spam'"):
            read_messages(path)


def test_a_missing_file_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("AIGC_LAB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="python -m aigc_lab download sms-spam"):
        read_messages()


def test_copies_with_another_number_count_as_one():
    kept = without_copies(MESSAGES)
    assert kept[:2] == MESSAGES[:2] and len(kept) == len(MESSAGES) - 2


def test_no_message_is_on_both_sides():
    for seed in range(5):
        parts = split_messages(MESSAGES, 5, 6, seed)
        assert [len(part) for part in parts] == [11, 5, 6]
        keys = [{content_key(text) for text, _ in part} for part in parts]
        assert sum(map(len, keys)) == len(set.union(*keys)) == 22
        assert parts == split_messages(MESSAGES, 5, 6, seed)
    assert split_messages(MESSAGES, 5, 6, 0) != split_messages(MESSAGES, 5, 6, 1)
    with pytest.raises(ValueError, match="leave nothing to train with of 22 different messages"):
        split_messages(MESSAGES, 12, 10)


def test_the_real_messages(data_file):
    messages = read_messages(data_file("sms_spam.tsv"))
    assert len(messages) == 5574
    assert sum(label for _, label in messages) == 747  # as its authors say
    assert 4900 < len(without_copies(messages)) < 5200
