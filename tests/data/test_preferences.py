"""Preferences: what is one, every file format, and errors that name the file and the line."""

import json
import warnings

import pytest
from damaged_files import damaged_files

from aigc_lab.data.chat import ConversationError
from aigc_lab.data.download import find_data
from aigc_lab.data.preferences import (
    IdenticalError,
    Preference,
    PreferenceError,
    load_preferences,
    save_preferences,
)

ASK = (("user", "Hi"),)


def turns(*messages: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in messages]


STANDARD = {"prompt": "Hi", "chosen": "Ho", "rejected": "No"}
CHATTY = {
    "prompt": turns(("system", "Be kind."), ("user", "Hi")),
    "chosen": turns(("assistant", "Ho")),
    "rejected": turns(("assistant", "No")),
}
LONG = (("user", "Hi"), ("assistant", "Ho"), ("user", "And?"))
IMPLICIT = {
    "chosen": turns(*LONG, ("assistant", "More")),
    "rejected": turns(*LONG, ("assistant", "Less")),
    "score": 3,
}
REPEATED = {
    "prompt": "Hi",
    "chosen": turns(*ASK, ("assistant", "Ho")),
    "rejected": turns(*ASK, ("assistant", "No")),
    "margin": 0.5,
}
BARE = {"instruction": "Say ho.", "input": "", "chosen": "Ho", "rejected": "No", "output": "x"}
WITH_INPUT = {"instruction": "Repeat.", "input": "Hi", "chosen": "Hi", "rejected": "No"}
SYSTEM = {"system": "Be kind.", **STANDARD}
RECORDS = [STANDARD, CHATTY, IMPLICIT, REPEATED, BARE, WITH_INPUT, SYSTEM]
KIND = (("system", "Be kind."), ("user", "Hi"))
EXPECTED = [
    Preference(ASK, "Ho", "No"),
    Preference(KIND, "Ho", "No"),
    Preference(LONG, "More", "Less"),
    Preference(ASK, "Ho", "No", margin=0.5),
    Preference((("user", "Say ho."),), "Ho", "No"),
    Preference((("user", "Repeat.\n\nHi"),), "Hi", "No"),
    Preference(KIND, "Ho", "No"),
]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(json.dumps, RECORDS)),
        "\r\n\r\n".join(map(json.dumps, RECORDS)) + "\r\n",
        json.dumps(RECORDS),
        json.dumps(RECORDS, indent=4),
        "\ufeff" + json.dumps(RECORDS),
    ],
)
def test_every_format_and_layout(tmp_path, text):
    (tmp_path / "pairs").write_text(text, encoding="utf-8", newline="")
    assert load_preferences(tmp_path / "pairs") == EXPECTED


def lines(*records) -> str:
    return "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (lines(STANDARD, '{"prompt": }'), 2, "Expecting value at column 12"),
        (lines(STANDARD, BARE, "nonsense"), 3, "Expecting value"),
        (lines(STANDARD, "\n", "7"), 4, "7 is no JSON object"),
        (lines(STANDARD, '{"a": ' + '{"a":' * 200_000), 2, "too deep|Expecting"),
        (lines(BARE, {"prompt": "x", "chosen": "y"}), 2, "lacks .'rejected'."),
        (lines(BARE, {"prompt": "x", "rejected": "y"}), 2, "lacks .'chosen'."),
        (lines({"chosen": "x", "rejected": "y"}), 1, "has no prompt"),
        (lines(BARE, {**STANDARD, "rejected": "Ho"}), 2, "both 'Ho': .* identical=\"skip\""),
        (lines({**STANDARD, "rejected": None}), 1, "'rejected' is None: neither"),
        (lines({**STANDARD, "prompt": None}), 1, "'prompt' is None: neither"),
        (lines({**STANDARD, "margin": -1}), 1, "margin=-1 must be .* exchange"),
        (lines({**STANDARD, "margin": "1"}), 1, "margin='1' must be"),
        (lines({**STANDARD, "margin": True}), 1, "margin=True must be"),
        (lines({**STANDARD, "system": ["x"]}), 1, "'system' is ..x.. and not a text"),
        (lines({**BARE, "instruction": 3}), 1, "'instruction' is 3 and not a text"),
        (lines({**CHATTY, "prompt": []}), 1, "there are no messages"),
        (lines({**CHATTY, "prompt": CHATTY["chosen"]}), 1, "user should speak"),
        (lines({**CHATTY, "prompt": turns(*LONG[:2])}), 1, "end with the assistant's 'Ho'"),
        (lines({**CHATTY, "chosen": turns(("user", "Ho"))}), 1, "roles .'user'.: it must be one"),
        (lines({**CHATTY, "chosen": []}), 1, "'chosen' has 0 messages"),
        (lines({**CHATTY, "chosen": [{"role": "assistant"}]}), 1, "needs 'role' and 'content'"),
        (
            lines({**IMPLICIT, "rejected": turns(("user", "Ha"), ("assistant", "x"))}),
            1,
            "'rejected' has 2 messages .* same messages as the prompt .3 of them",
        ),
        (json.dumps([STANDARD, {}], indent=1), 7, "lacks"),
        (json.dumps([STANDARD]) + "\n\n{}", 3, "more after the ']'"),
    ],
)
def test_errors_name_file_and_line(tmp_path, text, line, words):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PreferenceError, match=f"pairs.jsonl, line {line}: .*({words})"):
        load_preferences(path)


@pytest.mark.parametrize(("content", "words"), damaged_files(STANDARD, "prompt"))
def test_other_damage(tmp_path, content, words):
    path = tmp_path / "pairs.json"
    path.write_bytes(content)
    with pytest.raises(PreferenceError, match=f"pairs.json.*{words}"):
        load_preferences(path)


def test_a_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_preferences(tmp_path / "none.json")


def test_identical_replies_are_skipped_only_when_asked_and_never_silently(tmp_path):
    path = tmp_path / "pairs.jsonl"
    same = {**STANDARD, "rejected": "Ho"}
    path.write_text(lines(STANDARD, same, BARE, same), encoding="utf-8")
    with pytest.warns(UserWarning, match="left out 2 of 4 pairs.*first on line 2"):
        assert load_preferences(path, identical="skip") == [EXPECTED[0], EXPECTED[4]]
    path.write_text(lines(same), encoding="utf-8")
    with (
        pytest.warns(UserWarning, match="1 of 1"),
        pytest.raises(PreferenceError, match="no pair has two different replies"),
    ):
        load_preferences(path, identical="skip")
    with pytest.raises(ValueError, match="identical='drop' is not one of"):
        load_preferences(path, identical="drop")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((), "a", "b"), r"messages=\(\) .*there are no messages"),
        ((None, "a", "b"), "messages=None are no conversation"),
        (("Hi", "a", "b"), "messages='Hi' are no conversation .*pairs of role"),
        (((("user", 3),), "a", "b"), "3 in place of a text"),
        (((("assistant", "x"),), "a", "b"), "user should speak"),
        ((LONG[:2], "a", "b"), "end with the assistant's 'Ho': end with the user's"),
        ((ASK, 3, "b"), "chosen=3 is no text"),
        ((ASK, "a", None), "rejected=None is no text"),
        ((ASK, "a", "b", float("nan")), "margin=nan must be"),
        ((ASK, "a", "b", float("inf")), "margin=inf must be"),
    ],
)
def test_construction_refuses(arguments, words):
    with pytest.raises(PreferenceError, match=words) as caught:
        Preference(*arguments)
    assert not isinstance(caught.value, ConversationError)


def test_identical_replies_have_an_error_of_their_own():
    with pytest.raises(IdenticalError, match=r"both '': .* leave the pair out"):
        Preference(ASK, "", "")


def test_messages_become_a_tuple():
    made = Preference([["user", "Hi"]], "a", "b", 0)
    assert made.messages == ASK and hash(made) == hash(Preference(ASK, "a", "b", 0.0))


NASTY = '<script>alert(1)</script> <|end|>\u2028line\x85 \x00 你好 "quoted"\r\n\tend \\n'


def test_saved_and_loaded_again(tmp_path):
    path = tmp_path / "pairs.jsonl"
    nasty = [
        Preference((("user", NASTY),), NASTY + "!", "", margin=1e-17),
        Preference((("user", ""),), "\ud800", "\U0001f600"),  # half of a pair; a whole one
    ]
    save_preferences(path, EXPECTED + nasty)
    assert load_preferences(path) == EXPECTED + nasty
    content = path.read_bytes()
    assert content.count(b"\n") == len(EXPECTED + nasty) and "你好".encode() in content
    save_preferences(str(path), [])
    assert path.read_bytes() == b""


def test_a_reply_that_is_a_prefix_of_the_prompt_is_no_mistake(tmp_path):
    """The prompt is taken away only where it stands whole and in front."""
    path = tmp_path / "pairs.jsonl"
    path.write_text(lines({**REPEATED, "chosen": turns(("assistant", "Hi"))}), encoding="utf-8")
    assert load_preferences(path) == [Preference(ASK, "Hi", "No", 0.5)]


def test_real_preferences():
    try:
        path = find_data("instruction-data-with-preference.json")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    raw = json.loads(path.read_text(encoding="utf-8"))
    different = [record for record in raw if record["chosen"] != record["rejected"]]
    assert len(raw) == 1100 and len(different) == 1094
    with pytest.raises(PreferenceError, match=r"line [0-9]+: chosen and rejected are both"):
        load_preferences(path)
    with pytest.warns(UserWarning, match="left out 6 of 1100"):
        found = load_preferences(path, identical="skip")
    assert len(found) == len(different)
    for record, preference in zip(different, found, strict=True):
        ((role, text),) = preference.messages
        assert role == "user" and text.startswith(record["instruction"])
        assert text.endswith(record["input"])
        assert (preference.chosen, preference.rejected) == (record["chosen"], record["rejected"])


def test_nothing_warns_where_nothing_is_left_out(tmp_path):
    path = tmp_path / "pairs.jsonl"
    save_preferences(path, EXPECTED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_preferences(path, identical="skip")
