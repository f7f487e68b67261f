"""`python -m aigc_lab chat`, fed with lines."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from aigc_lab.data.tiny_world import TinyWorld, read_story
from aigc_lab.generation import chat_command
from aigc_lab.generation.chat_command import STORIES, chat


def talk(lines, *options):
    return CliRunner().invoke(chat, ["--seed", "4", *options], input="\n".join(lines) + "\n")


def said(result):
    return [
        line.removeprefix("Assistant: ")
        for line in result.output.splitlines()
        if line.startswith("Assistant: ")
    ]


def test_a_conversation():
    result = talk(["What is 20 + 30?", "", "/quit", "Hello!"], "--temperature", "0")
    assert result.exit_code == 0
    assert len(said(result)) == 1 and "50" in said(result)[0]
    assert "/story" in result.output


def test_it_is_the_same_for_a_seed_and_ends_with_the_input():
    lines = ["Tell me a story about Mei.", "Hello!"]
    first, again = talk(lines), talk(lines)
    assert first.output == again.output and first.exit_code == 0
    assert len(said(first)) == 2
    assert talk(lines, "--seed", "5").output != first.output


def test_a_story_is_told_with_the_next_message():
    seen = []

    class Listening(chat_command.Chat):
        def say(self, text):
            seen.append(text)
            return super().say(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_command, "Chat", Listening)
        result = talk(["/story", "Where is she?", "Who has it?"])
    story = TinyWorld(STORIES).document(5).text
    assert read_story(story).is_consistent and story in result.output
    assert seen == [f"Here is a story. {story} Where is she?", "Who has it?"]


def test_a_story_is_not_lost_when_the_question_is_too_long():
    result = talk(["/story", "word " * 300, "Where is she?"], "--temperature", "0")
    told = talk(["/story", "Where is she?"], "--temperature", "0")
    assert said(result) == said(told)


def test_new_keeps_the_system_message_of_the_start():
    options = ("--system", "Your name is Mei.", "--temperature", "0")
    result = talk(
        ["/system Your name is Omar.", "Who are you?", "/new x", "Who are you?"], *options
    )
    assert "Omar" in said(result)[0] and "Mei" in said(result)[1]
    assert "System: Your name is Mei." in result.output


def test_an_empty_reply_is_shown(monkeypatch):
    monkeypatch.setattr(chat_command.Chat, "say", lambda self, text: iter(()))
    assert said(talk(["Hello!"])) == ["(says nothing)"]


def test_commands_begin_anew_and_unknown_ones_are_explained():
    result = talk(["/system Your name is Mei.", "What is your name?", "/new", "/what"])
    assert "A new conversation. System: Your name is Mei." in result.output
    assert "Mei" in said(result)[0]
    assert result.output.count("/quit") == 2  # at the beginning, and for /what


def test_a_message_that_is_too_long_is_refused_and_the_talk_goes_on():
    result = talk(["word " * 300, "What is 2 + 2?"], "--temperature", "0")
    assert "say it in fewer words" in result.output and "4" in said(result)[-1]


def test_models_that_cannot_converse_are_refused():
    for name, words in (("base", "was not taught to converse"), ("none", "there is no model")):
        result = talk([], "--model", name)
        assert result.exit_code == 1 and words in result.output


def test_as_a_program(root):
    done = subprocess.run(
        [sys.executable, "-m", "aigc_lab", "chat", "--seed", "1"],
        input="Hello!\n",
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert done.returncode == 0 and "Assistant: " in done.stdout and not done.stderr
