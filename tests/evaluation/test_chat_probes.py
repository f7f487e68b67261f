"""The scores of a conversing model: right replies get all, wrong ones lose what they should."""

import pytest
import torch

from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.chat import START, make_chat_tokenizer
from aigc_lab.data.tiny_world.conversations import Conversations
from aigc_lab.data.tiny_world.requests import StoryRequest
from aigc_lab.data.tiny_world.tasks import Asked, Sum, Unknowable
from aigc_lab.evaluation.chat_probes import chat_scores, judge_replies, prompts_of
from aigc_lab.generation.chat import Reply
from aigc_lab.models.gpt import GPT, GPTConfig

TALKS = list(Conversations().conversations(120))
PROMPTS = prompts_of(TALKS)
RIGHT = [Reply(turn.reply, True) for talk in TALKS for turn in talk.turns]


def test_right_replies_have_full_marks():
    found = judge_replies(PROMPTS, RIGHT)
    assert found["ended"] == 1 and set(found["right"].values()) == {1}
    assert set(found["constraints"]) == {"person", "thing", "place", "sentences", "overall"}
    assert set(found["constraints"].values()) == set(found["style"].values()) == {1}
    assert set(found["style"]) == {"short", "full", "steps"}
    assert found["stories"] == {"grammatical": 1, "consistent": 1}
    for name in ("question: colour", "unknowable: absent", "sum: two digits", "small talk"):
        assert found["n"][name] > 5
    kinds = ("question", "unknowable", "sum", "small talk", "story")
    assert sum(found["n"][kind] for kind in kinds) == len(PROMPTS)


def test_prompts_end_with_the_user_and_hold_what_was_said():
    assert len(PROMPTS) == sum(len(talk.turns) for talk in TALKS)
    talk = next(talk for talk in TALKS if talk.system and len(talk.turns) > 2)
    mine = prompts_of([talk])
    assert mine[1].messages == talk.messages()[:4] and mine[1].style == talk.style
    assert mine[1].messages[-1] == ("user", talk.turns[1].user)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Asked, {"question"}),
        (Unknowable, {"unknowable"}),
        (Sum, {"sum"}),
        (StoryRequest, {"story"}),
    ],
)
def test_wrong_replies_count_where_they_belong(kind, names):
    said = [
        Reply("Nonsense.", True) if isinstance(prompt.task, kind) else reply
        for prompt, reply in zip(PROMPTS, RIGHT, strict=True)
    ]
    found = judge_replies(PROMPTS, said)
    for name, share in found["right"].items():
        assert share == (0 if name.split(":")[0] in names else 1)
    wrong_story = kind is StoryRequest
    assert found["constraints"]["overall"] == (0 if wrong_story else 1)
    assert found["stories"]["grammatical"] == (0 if wrong_story else 1)


def test_a_reply_without_an_end_is_wrong():
    found = judge_replies(PROMPTS, [Reply(reply.text, False) for reply in RIGHT])
    assert found["ended"] == 0 and set(found["right"].values()) == {0}


def test_a_model_that_knows_nothing_scores_nothing():
    tokenizer = make_chat_tokenizer(train_bpe("abc " * 9, 258, special_tokens=[START]))
    torch.manual_seed(0)
    model = GPT(
        GPTConfig(tokenizer.vocab_size, context_length=2000, d_model=8, n_layers=1, n_heads=2)
    )
    found = chat_scores(model, tokenizer, PROMPTS[:6])
    assert set(found["right"].values()) == {0}
    assert chat_scores(model, tokenizer, PROMPTS[:6]) == found
