"""How well a model converses about the tiny world: right answers, constraints, refusals, ends."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

from aigc_lab.data.chat import Message
from aigc_lab.data.tiny_world.conversations import Conversation, Task
from aigc_lab.data.tiny_world.requests import StoryRequest, read_scene
from aigc_lab.data.tiny_world.tasks import Asked, Sum, Unknowable
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.chat import Reply, replies
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT

GREEDY = Sampling(temperature=0)


class Prompt(NamedTuple):
    """A place of a conversation where the assistant is to reply.

    Attributes:
        messages: up to the user's; the replies before are right ones.
        task: what the user asks for.
        style: that the system message asks for, or "".
    """

    messages: list[Message]
    task: Task
    style: str


def prompts_of(conversations: Iterable[Conversation]) -> list[Prompt]:
    """Every turn of every conversation."""
    return [
        Prompt(talk.messages(number + 1)[:-1], turn.task, talk.style)
        for talk in conversations
        for number, turn in enumerate(talk.turns)
    ]


def chat_scores(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: Sampling = GREEDY,
    seed: int = 0,
) -> dict[str, Any]:
    """Let a model reply, and judge what it says.

    Args:
        model, tokenizer: that know the chat template.
        prompts: of `prompts_of`.
        sampling, seed: how replies are drawn.

    Returns:
        What `judge_replies` returns.
    """
    generator = torch.Generator().manual_seed(seed)
    said: dict[int, Reply] = {}
    # Replies of one kind are about equally long: a batch takes as long as its longest reply.
    for kind in sorted({prompt.task.kind for prompt in prompts}):
        mine = [number for number, prompt in enumerate(prompts) if prompt.task.kind == kind]
        conversations = [prompts[number].messages for number in mine]
        found = replies(model, tokenizer, conversations, sampling, generator=generator)
        said.update(zip(mine, found, strict=True))
    return judge_replies(prompts, [said[number] for number in range(len(prompts))])


def judge_replies(prompts: Sequence[Prompt], said: Sequence[Reply]) -> dict[str, Any]:
    """Shares of replies that are as they should be.

    Returns:
        "right": share of right replies by kind of task, and for questions, refusals and sums also
        by their own kinds ("question: colour", "unknowable: absent", "sum: two digits");
        "constraints": share of the constraints of requests that are met, by kind and "overall";
        "stories": shares of told stories that are "grammatical" and "consistent"; "style": share
        of replies that are right and in the style that was asked for; "ended": share of replies
        that ended by themselves; "n": number of replies of each kind of task.
    """
    right, met, style = defaultdict(list), defaultdict(list), defaultdict(list)
    stories: dict[str, list[bool]] = {"grammatical": [], "consistent": []}
    for (_, task, wanted), reply in zip(prompts, said, strict=True):
        is_right = reply.has_ended and task.judge(reply.text).is_right
        for name in (task.kind, *_finer(task)):
            right[name].append(is_right)
        if isinstance(task, StoryRequest):
            for name, is_met in task.checks(reply.text).items():
                met[name].append(is_met)
                met["overall"].append(is_met)
            reading = read_scene(reply.text)
            stories["grammatical"].append(reading.is_grammatical)
            stories["consistent"].append(reading.is_consistent)
        elif _has_style(task, wanted):
            style[wanted].append(reply.text in task.replies(wanted))
    return {
        "right": _shares(right),
        "constraints": _shares(met),
        "stories": _shares(stories),
        "style": _shares(style),
        "ended": sum(reply.has_ended for reply in said) / len(said),
        "n": {name: len(found) for name, found in right.items()},
    }


def _finer(task: Task) -> list[str]:
    if isinstance(task, Asked):
        return [f"question: {task.question.kind}"]
    if isinstance(task, Unknowable):
        return [f"unknowable: {task.why}"]
    if isinstance(task, Sum) and min(task.a, task.b) > 9:
        return ["sum: two digits"]
    return []


def _has_style(task: Task, style: str) -> bool:
    return (isinstance(task, Asked) and style in ("short", "full")) or (
        isinstance(task, Sum) and style in ("short", "steps")
    )


def _shares(found: dict[str, list[bool]]) -> dict[str, float]:
    return {name: sum(values) / len(values) for name, values in found.items() if values}
