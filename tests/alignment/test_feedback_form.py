"""The notebook form and the command line of feedback."""

import json
import os
import signal
import subprocess
import sys

import click.testing
import nbformat
import pytest
import requests
from feedback_helpers import some_pairs
from nbclient import NotebookClient

from aigc_lab.__main__ import main
from aigc_lab.alignment.feedback import command, form, making
from aigc_lab.alignment.feedback.pairs import Pair, load_pairs, save_pairs
from aigc_lab.alignment.feedback.votes import read_votes
from aigc_lab.data.tiny_world.settings import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.generation.chat import Reply


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes.jsonl"


@pytest.fixture
def answering(monkeypatch):
    """Lets `input` give these answers, and then the end of the input."""

    def prepare(*answers):
        waiting = iter(answers)

        def read(question):
            answer = next(waiting, EOFError())
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr("builtins.input", read)

    return prepare


# --------------------------------------------------------------------------------- the form


def test_keys_of_the_form(path, answering, capsys):
    answering("1", " 2 ", "T", "s", "u", "x", "0", "q")
    assert form.ask(some_pairs(6), path, "Mei") == 4
    votes = read_votes(path)
    assert [vote.pair_id for vote in votes] == ["pair 0", "pair 1", "pair 2", "pair 3"]
    first, second = votes[:2]
    assert first.choice == first.left and second.choice != second.left
    assert [vote.choice for vote in votes[2:]] == ["tie", "tie"]
    assert {vote.labeller for vote in votes} == {"Mei"}
    said = capsys.readouterr().out
    assert "'x' is none of the keys" in said and "4 of 6 pairs are judged" in said
    assert said.count("---- 4 of 6") == 3  # before the skip, after its undoing, after the "x"
    left, right = first.left, {"a": "b", "b": "a"}[first.left]
    assert f"user: Story 0?\n\n[1] {getattr(first, left)}\n\n[2] {getattr(first, right)}" in said


def test_the_form_goes_on_and_ends(path, answering, capsys):
    answering("u", "1", "q")
    assert form.ask(some_pairs(2), path) == 1
    assert "nothing to undo" in capsys.readouterr().out
    answering("2")
    assert form.ask(some_pairs(2), path) == 1
    assert "---- 2 of 2" in capsys.readouterr().out
    assert form.ask(some_pairs(2), path) == 0 and len(read_votes(path)) == 2


@pytest.mark.parametrize(
    "error", [EOFError(), NotImplementedError("no stdin"), KeyboardInterrupt()]
)
def test_the_form_where_nobody_answers(path, answering, capsys, error):
    answering("1", error)
    assert form.ask(some_pairs(2), path) == 1
    said = capsys.readouterr().out
    assert ("Nobody can answer here" in said) == (not isinstance(error, KeyboardInterrupt))
    assert "1 of 2 pairs are judged" in said and len(read_votes(path)) == 1


def test_the_form_in_a_notebook_that_a_program_runs(path, root):
    code = (
        "from aigc_lab.alignment.feedback.form import ask\n"
        "from aigc_lab.alignment.feedback.pairs import Pair\n"
        f"ask([Pair((('user', 'Hi'),), 'x', 'y')], {str(path)!r})"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": root}}).execute()
    (cell,) = notebook.cells
    text = "".join(output.get("text", "") for output in cell.outputs)
    assert "Nobody can answer here, so no vote was added" in text
    assert cell.outputs[-1]["data"]["text/plain"] == "0" and not path.exists()


def test_the_form_shows_control_characters_as_marks(path, answering, capsys):
    answering("q")
    form.ask([Pair((("user", "Hi\n\nyou"),), "\x1b[2J<|end|>\x07", "")], path)
    said = capsys.readouterr().out
    assert "user: Hi\n\nyou" in said and "\ufffd[2J<|end|>\ufffd" in said
    assert "(says nothing)" in said and "\x1b" not in said and "\x07" not in said


# -------------------------------------------------------------------------------- making pairs


def test_made_pairs_differ_and_come_from_the_seed(monkeypatch):
    asked, rounds = [], []

    def reply(model, tokenizer, conversations, sampling, generator):
        asked.extend(conversations)
        rounds.append(len(conversations))
        same = len(rounds) % 2  # of the first round the first pair says the same twice
        return [Reply(f"S {max(k, same)} {len(asked)}", True) for k in range(len(conversations))]

    monkeypatch.setattr(making, "replies", reply)
    pairs = making.make_pairs(None, None, 5, seed=3)
    assert len({pair.pair_id for pair in pairs}) == 5
    assert all(pair.a != pair.b for pair in pairs)
    assert rounds == [10, 2]
    expected = [prompt.messages for prompt in story_prompts(WorldSettings(seed=3), 6)]
    assert asked == [messages for messages in expected for _ in range(2)]
    n_asked = len(asked)
    assert making.make_pairs(None, None, 5, seed=3)[0].messages == pairs[0].messages
    assert asked[: len(asked) // 2] == asked[n_asked:]
    assert making.make_pairs(None, None, 5, seed=4)[0].messages != pairs[0].messages
    with pytest.raises(ValueError, match="n_pairs=0"):
        making.make_pairs(None, None, 0)


def test_a_model_that_always_says_the_same_makes_no_pairs(monkeypatch):
    monkeypatch.setattr(
        making, "replies", lambda m, t, asked, *_, **__: [Reply("x", True)] * len(asked)
    )
    with pytest.raises(ValueError, match=r"only 0 of 2 pairs .* take a higher one"):
        making.make_pairs(None, None, 2)


def run(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["feedback", *map(str, arguments)])


def test_making_by_the_command(tmp_path):
    path = tmp_path / "pairs.jsonl"
    result = run("--make", 2, path)
    assert result.exit_code == 0, result.output
    pairs = load_pairs(path)
    assert len(pairs) == 2 and all("stor" in pair.messages[0][1] for pair in pairs)
    content = path.read_bytes()
    result = run("--make", 2, path)
    assert result.exit_code == 1 and "exists: name a new file" in result.output
    assert path.read_bytes() == content


# ---------------------------------------------------------------------------------- the command


def test_mistakes_on_the_command_line(tmp_path, monkeypatch):
    async def serve(*_):
        raise AssertionError("it serves in spite of the mistake")

    monkeypatch.setattr(command, "_serve", serve)
    good, bad = tmp_path / "pairs.jsonl", tmp_path / "bad.jsonl"
    save_pairs(good, some_pairs(2))
    bad.write_text("nonsense")
    for arguments, words in (
        ([tmp_path / "none.jsonl"], "none.jsonl"),
        ([bad], "bad.jsonl, line 1"),
        ([good, "--votes", tmp_path / "no" / "votes.jsonl"], "is no folder"),
        ([good, "--votes", bad], "bad.jsonl, line 1"),
        ([good, "--votes", tmp_path / "v", "--labeller", ""], "is no name"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1 and words in result.output, arguments
        assert "Traceback" not in result.output


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_the_command_serves_until_ctrl_c(root, tmp_path):
    save_pairs(tmp_path / "pairs.jsonl", some_pairs(2))
    program = [sys.executable, "-u", "-m", "aigc_lab", "feedback", "pairs.jsonl", "--no-browser"]
    process = subprocess.Popen(
        [*program, "--labeller", "Mei"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    address, key = process.stdout.readline().split()[-1].split("#")
    body = {"pair": "pair 0", "side": "left", "vote": "v0"}
    headers = {"X-Feedback-Key": key}
    answer = requests.post(f"{address}vote", data=json.dumps(body), headers=headers, timeout=30)
    assert answer.json()["n_judged"] == 1 and len(read_votes(tmp_path / "votes.jsonl")) == 1
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0 and not error
    assert "1 of 2 pairs are judged; votes: votes.jsonl" in out


def test_the_command_is_listed_and_loads_no_torch(root):
    result = click.testing.CliRunner().invoke(main, ["--help"])
    assert "feedback" in result.output
    code = "import sys, aigc_lab.alignment.feedback.command; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "False", done.stderr
