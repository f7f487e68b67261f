"""Conversations from files: every format, and errors that name the file and the line."""

import json

import pytest
from damaged_files import damaged_files

from aigc_lab.data.conversation_files import ConversationFileError, load_conversations
from aigc_lab.data.download import find_data

MESSAGES = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Ho"},
    ]
}
ALPACA = {"instruction": "Say ho.", "input": "", "output": "Ho"}
ALPACA_INPUT = {"instruction": "Repeat.", "input": "Hi", "output": "Hi"}
EXPECTED = [
    [("user", "Hi"), ("assistant", "Ho")],
    [("system", "Be kind."), ("user", "Hi"), ("assistant", "Ho")],
    [("user", "Say ho."), ("assistant", "Ho")],
    [("user", "Repeat.\n\nHi"), ("assistant", "Hi")],
]
RECORDS = [MESSAGES, SHAREGPT, ALPACA, ALPACA_INPUT]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(json.dumps, RECORDS)),
        "\r\n\r\n".join(map(json.dumps, RECORDS)) + "\r\n",
        json.dumps(RECORDS),
        json.dumps(RECORDS, indent=4),
        "\ufeff" + json.dumps(RECORDS),
        "\n\n".join(json.dumps(record, indent=1) for record in RECORDS),
    ],
)
def test_every_format_and_layout(tmp_path, text):
    (tmp_path / "talks").write_text(text, encoding="utf-8")
    assert load_conversations(tmp_path / "talks") == EXPECTED


def lines(*records) -> str:
    return "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (lines(MESSAGES, '{"messages": [}'), 2, "Expecting value at column 15"),
        (lines(MESSAGES, ALPACA, "nonsense"), 3, "Expecting value"),
        (lines(MESSAGES, "[1, 2]"), 2, "'\\[1, 2\\]' is no JSON object"),
        (lines(ALPACA, {"prompt": "x"}), 2, "keys \\['prompt'\\] is in no known format"),
        (lines(ALPACA, {"instruction": "x"}), 2, "no known format"),
        (lines({"instruction": "x", "output": None}), 1, "'output' is None and not a text"),
        (lines({"messages": "hello"}), 1, "'hello' is no list"),
        (lines(ALPACA, {"messages": []}), 2, "no messages"),
        (lines({"messages": [{"role": "user"}]}), 1, "message 0 .* needs 'role' and 'content'"),
        (lines({"messages": [{"role": "bot", "content": "x"}]}), 1, "role 'bot'"),
        (lines({"messages": [{"role": "user", "content": ["x"]}]}), 1, "in place of a text"),
        (lines({"conversations": [{"from": "bing", "value": "x"}]}), 1, "'from' is 'bing'"),
        (lines({"conversations": [{"from": "gpt", "value": "x"}]}), 1, "user should speak"),
        (lines({"messages": [{"role": ["user"], "content": "x"}]}), 1, "'role' .'user'., which is"),
        (lines({"conversations": [{"from": None, "value": "x"}]}), 1, "'from' None, which is not"),
        (json.dumps([ALPACA]) + "\n\n" + json.dumps(ALPACA), 3, "more after the ']'"),
        (json.dumps([ALPACA, {}], indent=1), 7, "no known format"),
        ('[\n{"instruction": "x",\n "output": }]', 3, "Expecting value .* begins on line 2"),
    ],
)
def test_errors_name_file_and_line(tmp_path, text, line, words):
    path = tmp_path / "talks.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConversationFileError, match=f"talks.jsonl, line {line}: .*{words}"):
        load_conversations(path)


@pytest.mark.parametrize(("content", "words"), damaged_files(ALPACA, "instruction"))
def test_other_damage(tmp_path, content, words):
    path = tmp_path / "talks.json"
    path.write_bytes(content)
    with pytest.raises(ConversationFileError, match=words):
        load_conversations(path)


def test_a_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_conversations(tmp_path / "none.json")


def test_real_instructions():
    try:
        path = find_data("instruction-data.json")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    talks = load_conversations(path)
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert len(talks) == len(raw) == 1100
    for record, talk in zip(raw, talks, strict=True):
        assert [role for role, _ in talk] == ["user", "assistant"]
        assert talk[0][1].startswith(record["instruction"]) and record["input"] in talk[0][1]
        assert talk[1][1] == record["output"]
