"""Tasks that a rule checks: what they ask for, and the rules that score the replies."""

import dataclasses

import pytest
import torch

from aigc_lab.alignment.rollout import Samples
from aigc_lab.alignment.verifiable import (
    EARLY_QUESTIONS,
    SHORT_SUMS,
    STORIES,
    STORIES_OF_ANY_LENGTH,
    SumPrompt,
    TaskPrompt,
    does_task,
    is_right_and_short,
    question_prompts,
    repeated,
    request_prompts,
    sum_prompts,
    tells_soundly,
    try_task,
)
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.lexicon import is_held_out_sum
from aigc_lab.data.tiny_world.questions import truth
from aigc_lab.data.tiny_world.requests import StoryRequest, read_scene
from aigc_lab.models.shipped import load_shipped


def samples_of(texts, ended=None):
    prompt = SumPrompt(37, 48, "What is 37 + 48?", "Be brief.")
    ended = torch.tensor(ended or [True] * len(texts))
    return Samples([prompt] * len(texts), None, texts, ended)


def test_only_a_right_result_that_ended_is_rewarded():
    texts = ["85.", "37 + 48 = 85.", "85. Or 75.", "75.", "", "85."]
    found = does_task(samples_of(texts, [True] * 5 + [False]))
    assert found.tolist() == [1, 1, 0, 0, 0, 0]


def test_the_stricter_rule_wants_nothing_but_the_result():
    found = is_right_and_short(samples_of(["85.", "85", "37 + 48 = 85.", "75.", "It is 85."]))
    assert found.tolist() == [1, 1, 0, 0, 0]


def test_held_out_sums_are_others():
    for held_out in (True, False):
        prompts = sum_prompts(50, 3, held_out)
        assert all(is_held_out_sum(p.a, p.b) == held_out for p in prompts)
        assert all(str(p.a) in p.text and str(p.b) in p.text for p in prompts)
        assert prompts == sum_prompts(50, 3, held_out) != sum_prompts(50, 4, held_out)
    assert prompts[0].messages[0] == ("system", prompts[0].system)
    assert max(max(p.a, p.b) for p in sum_prompts(50, 3, largest=9)) == 9
    with pytest.raises(ValueError, match="style='loud'"):
        sum_prompts(1, 0, style="loud")


def test_replies_to_one_prompt_stand_side_by_side():
    assert repeated(["a", "b"], 3) == ["a", "a", "a", "b", "b", "b"]


@pytest.mark.parametrize("prompts_of", [request_prompts, question_prompts])
def test_prompts_are_the_same_for_the_same_seed_only(prompts_of):
    assert prompts_of(9, 3) == prompts_of(9, 3) == prompts_of(12, 3)[:9]
    assert prompts_of(9, 3) != prompts_of(9, 4) and prompts_of(9, 3) != prompts_of(9, 3, True)
    prompt = prompts_of(1, 3)[0]
    assert prompt.messages == [("user", prompt.text)]


def test_held_out_requests_pair_persons_and_things_as_no_training_does():
    trained = WorldSettings()
    for held_out in (True, False):
        for prompt in request_prompts(60, 0, held_out):
            request = prompt.task
            assert request.constraints() == ["person", "thing", "place", "sentences"]
            assert trained.may_wish(request.person, request.thing) != held_out
            assert request.person in prompt.text and request.thing in prompt.text
    free = request_prompts(60, 0, with_length=False)
    assert all(p.task.constraints() == ["person", "thing", "place"] for p in free)


def test_an_early_question_stands_before_its_story():
    for prompt in question_prompts(40, 0):
        question, _, story = prompt.text.partition("? ")
        assert question and story and read_scene(story).is_consistent
        assert truth(prompt.task.question, prompt.task.state)
        assert prompt.task.judge(prompt.task.replies()[0]).is_right


def stories_of(*texts, ended=None):
    request = StoryRequest(person="Mei", thing="kite", place="garden")
    prompt = TaskPrompt("A story, please.", request)
    ended = torch.tensor(ended or [True] * len(texts))
    return Samples([prompt] * len(texts), None, list(texts), ended)


SOUND = "Long ago Mei stood in the garden. A red kite lay on the hill. Mei walked to the hill."
CONTRADICTS = "Long ago Mei stood in the garden. A red kite lay on the hill. Mei took the kite."


def test_a_story_counts_if_it_does_what_was_asked_and_is_sound():
    assert read_scene(SOUND).is_consistent and not read_scene(CONTRADICTS).is_consistent
    elsewhere = SOUND.replace("garden", "river")
    samples = stories_of(SOUND, CONTRADICTS, elsewhere, "", SOUND, ended=[True] * 4 + [False])
    assert does_task(samples).tolist() == [1, 1, 0, 0, 0]
    assert tells_soundly(samples).tolist() == [1, 0, 0, 0, 0]


def test_answers_are_checked_against_the_story():
    prompts = question_prompts(20, 1)
    right = [prompt.task.replies()[0] for prompt in prompts]
    ended = torch.ones(20, dtype=torch.bool)
    assert does_task(Samples(prompts, None, right, ended)).all()
    assert not does_task(Samples(prompts, None, right, ~ended)).any()
    assert not does_task(Samples(prompts, None, ["The moon."] * 20, ended)).any()


@pytest.mark.parametrize("task", [SHORT_SUMS, STORIES, STORIES_OF_ANY_LENGTH, EARLY_QUESTIONS])
def test_the_chat_model_does_each_task_now_and_then(task):
    model, tokenizer = load_shipped("chat")
    prompts = task.prompts(8, 0, True)
    chance = torch.Generator().manual_seed(0)
    samples = try_task(task, model, tokenizer, prompts, 4, generator=chance)
    assert list(samples.prompts) == repeated(prompts, 4)
    cut = try_task(dataclasses.replace(task, longest=2), model, tokenizer, prompts, 1)
    assert cut.batch.reply_mask.shape[1] == 2
    assert 0.1 < task.reward(samples).mean() < 0.97
    sure = try_task(task, model, tokenizer, prompts, 2, temperature=1e-4, generator=chance)
    # Two wordings may be as likely as each other to four digits; then one of the two is drawn.
    assert sum(a == b for a, b in zip(sure.texts[::2], sure.texts[1::2], strict=True)) >= 6
