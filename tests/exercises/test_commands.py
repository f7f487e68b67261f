"""The command line: listing, starting, checking and watching a file."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from aigc_lab.__main__ import main
from aigc_lab.exercises import catalog, progress
from aigc_lab.exercises.declaring import Question

RIGHT = """
import numpy as np

def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
"""
WRONG = RIGHT.replace(" - scores.max(-1, keepdims=True)", "")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command and return its exit status and what it printed."""
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress.json"))

    def run(*arguments):
        result = CliRunner().invoke(main, ["exercises", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return run


def row(output, exercise_id):
    return next(line for line in output.splitlines() if re.search(rf"\b{exercise_id}\b", line))


def test_the_list_shows_every_exercise_and_the_next_one(run):
    status, output = run()
    assert status == 0
    for item in catalog.all_exercises():
        assert "open" in row(output, item.id)
    first = catalog.all_exercises()[0]
    assert f"0 of {len(catalog.all_exercises())} done. Next: {first.id}" in output


def test_the_list_shows_what_is_done_and_tried_and_goes_on_from_there(run):
    items = catalog.all_exercises()
    progress.record(items[0].id, progress.DONE)
    progress.record(items[1].id, progress.TRIED)
    _, output = run()
    assert "done" in row(output, items[0].id)
    assert "tried" in row(output, items[1].id)
    assert f"1 of {len(items)} done. Next: {items[1].id}" in output


def test_the_list_ends_when_all_is_done(run):
    for item in catalog.all_exercises():
        progress.record(item.id, progress.DONE)
    _, output = run()
    n = len(catalog.all_exercises())
    assert f"{n} of {n} done." in output and "Next" not in output


def test_a_damaged_progress_file_is_a_note_and_not_a_crash(run, tmp_path):
    (tmp_path / "progress.json").write_text('{"version": 1, "exerc')
    status, output = run()
    assert status == 0
    assert "note: the progress file" in output and "damaged" in output
    assert "0 of " in output


def test_hints_come_one_at_a_time(run):
    exercise = catalog.find("attention/softmax")
    for number in (1, 2, 2):
        _, output = run("hint", exercise.id)
        assert f"Hint {number} of 2" in output
        assert exercise.hints[number - 1] in output


def test_solution_shows_the_source(run):
    _, output = run("solution", "attention/softmax")
    assert catalog.find("attention/softmax").source in output


@pytest.mark.parametrize("command", ["hint", "solution", "start"])
def test_an_unknown_id_names_a_near_one(run, tmp_path, command):
    rest = [tmp_path / "my.py"] if command == "start" else []
    status, output = run(command, "attention/softmaks", *rest)
    assert status == 2
    assert "did you mean 'attention/softmax'" in " ".join(output.split())


def test_start_makes_a_file_that_is_not_yet_right(run, tmp_path):
    file = tmp_path / "my.py"
    status, _ = run("start", "attention/softmax", file)
    assert status == 0
    text = file.read_text()
    assert catalog.find("attention/softmax").stub in text and "import numpy as np" in text
    status, output = run("check", file)
    assert status == 1 and "not yet" in output


def test_start_adds_to_a_file_and_keeps_what_is_there(run, tmp_path):
    file = tmp_path / "my.py"
    file.write_text(RIGHT)
    status, _ = run("start", "attention/softmax_backward", file)
    assert status == 0
    text = file.read_text()
    assert text.startswith(RIGHT.rstrip()) and "def softmax_backward(" in text
    assert text.count("import numpy as np") == 1
    _, output = run("check", file)
    assert "softmax: passed" in output and "softmax_backward: not yet" in output


def test_start_never_overwrites_an_answer(run, tmp_path):
    file = tmp_path / "my.py"
    file.write_text(RIGHT)
    status, output = run("start", "attention/softmax", file)
    assert status == 2 and "nothing was changed" in output
    assert file.read_text() == RIGHT


def test_start_says_where_a_question_is_answered(run, tmp_path):
    status, output = run("start", "attention/temperature", tmp_path / "my.py")
    assert status == 2 and "exercises answer attention/temperature" in " ".join(output.split())
    assert not (tmp_path / "my.py").exists()


def test_a_question_is_answered_in_words_and_then_shows_ours(monkeypatch, tmp_path):
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress.json"))
    question = catalog.find("attention/temperature")
    for said, there in (("", False), ("It averages, or it chooses.", True)):
        result = CliRunner().invoke(main, ["exercises", "answer", question.id], input=f"{said}\n")
        assert (question.answer in result.output) is there
        assert (progress.load() != {}) is there


def test_only_questions_are_answered_in_words(run):
    status, output = run("answer", "attention/softmax")
    assert status == 2 and "start attention/softmax my.py" in " ".join(output.split())


def test_the_list_says_how_to_answer_a_question(run):
    for item in catalog.all_exercises():
        _, output = run()
        way = "answer" if isinstance(item, Question) else "start"
        assert f"python -m aigc_lab exercises {way} {item.id}" in output
        progress.record(item.id, progress.DONE)


def test_a_name_alone_is_enough(run):
    _, output = run("solution", "softmax")
    assert catalog.find("attention/softmax").source in output


def test_a_variable_with_the_name_of_an_exercise_is_not_passed_over(run, tmp_path):
    file = tmp_path / "my.py"
    file.write_text("softmax = 5\n")
    status, output = run("check", file)
    assert status == 1 and "must be your function itself" in " ".join(output.split())


def test_start_needs_a_folder_that_exists(run, tmp_path):
    status, output = run("start", "attention/softmax", tmp_path / "none" / "my.py")
    assert status == 2 and "there is no folder" in output


def test_check_tells_right_from_wrong_and_remembers(run, tmp_path):
    file = tmp_path / "my.py"
    file.write_text(WRONG)
    status, output = run("check", file)
    assert status == 1 and "overflows" in output
    assert progress.load()["attention/softmax"]["state"] == progress.TRIED
    file.write_text(RIGHT)
    status, output = run("check", file)
    assert status == 0 and "passed" in output
    assert progress.load()["attention/softmax"]["state"] == progress.DONE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def softmax(:\n", "line 1"),
        ("x = 1 / 0\n", "ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
        ("def other(): pass\n", "no function with the name of an exercise"),
        ("", "no function with the name of an exercise"),
    ],
)
def test_a_file_that_cannot_be_checked_gets_a_sentence(run, tmp_path, text, message):
    file = tmp_path / "my.py"
    file.write_text(text)
    status, output = run("check", file)
    assert status == 1 and message in output


def test_the_line_that_raised_is_named(run, tmp_path):
    file = tmp_path / "my.py"
    file.write_text("a = 1\nb = a / 0\n")
    _, output = run("check", file)
    assert "line 2" in output and "b = a / 0" in output


def test_check_needs_a_file_that_exists(run, tmp_path):
    status, output = run("check", tmp_path / "none.py")
    assert status == 2 and "none.py" in output.replace("\n", "")


def test_watch_checks_again_when_the_file_is_saved(tmp_path):
    file = tmp_path / "my.py"
    file.write_text(WRONG)
    state = tmp_path / "progress.json"
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "aigc_lab", "exercises", "watch", str(file)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, progress.VARIABLE: str(state), "PYTHONUNBUFFERED": "1"},
        )
        try:
            wait_for(log, "waiting for my.py", 1)
            # As many editors save: a new file takes the name of the old one.
            new = tmp_path / "my.py.new"
            new.write_text(RIGHT)
            os.replace(new, file)
            wait_for(log, "waiting for my.py", 2)
            file.unlink()
            new.write_text("def softmax(:\n")
            os.replace(new, file)
            wait_for(log, "waiting for my.py", 3)
        finally:
            process.terminate()
            process.wait()
    first, second, third = log.read_text().split("waiting for my.py to be saved")[:3]
    assert "overflows" in first and "passed" in second and "line 1" in third
    assert json.loads(state.read_text())["exercises"]["attention/softmax"]["state"] == "done"


def wait_for(log, text, times):
    """Wait until the log holds the text so many times; a minute is far more than it needs."""
    deadline = time.monotonic() + 60
    while log.read_text().count(text) < times:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
