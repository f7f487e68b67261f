"""Rewards that a rule can check: sums, stories with constraints, answers about a story.

Each task is one that the chat model does about every second time: sums with the order to be brief,
so that the result must be said at once; stories of a given length in which no sentence contradicts
another; and questions that are asked before the story is told.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from aigc_lab.alignment.rollout import AnyPrompt, Reward, Samples, sample_replies
from aigc_lab.data.chat import Message
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.chat_words import SUMS, SYSTEMS
from aigc_lab.data.tiny_world.lexicon import is_held_out_sum
from aigc_lab.data.tiny_world.questions import all_questions, question_texts
from aigc_lab.data.tiny_world.requests import NUMBERS, StoryRequest, read_scene
from aigc_lab.data.tiny_world.speaking import Drawing
from aigc_lab.data.tiny_world.story import tell
from aigc_lab.data.tiny_world.tasks import Asked, Sum
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.gpt import GPT

LONGEST_SUM = 32  # tokens of a reply: room for one with the question said again


@dataclass(frozen=True)
class SumPrompt:
    """A sum to be answered in few words."""

    a: int
    b: int
    text: str
    system: str

    @property
    def messages(self) -> list[Message]:
        """The conversation up to where the assistant replies."""
        return [("system", self.system), ("user", self.text)]

    @property
    def task(self) -> Sum:
        """What judges any reply."""
        return Sum(self.a, self.b)


def sum_prompts(
    n: int, seed: int, held_out: bool = False, style: str = "short", largest: int = 99
) -> list[SumPrompt]:
    """Sums that ask for a style of answer.

    Args:
        n: how many; a sum may come twice.
        seed: of the draw.
        held_out: sums that no model of the book was trained on, in place of the others.
        style: of the answer, as the system message asks for it: "short", "full" or "steps".
        largest: number to add.

    Raises:
        ValueError: an unknown style.
    """
    if style not in ("short", "full", "steps"):
        raise ValueError(f"style={style!r} is not one of 'short', 'full', 'steps'")
    chance, found = random.Random(f"sums {seed}/{held_out}"), []
    while len(found) < n:
        a, b = chance.randint(0, largest), chance.randint(0, largest)
        if is_held_out_sum(a, b) == held_out:
            text = chance.choice(SUMS).format(a=a, b=b)
            found.append(SumPrompt(a, b, text, chance.choice(SYSTEMS[style])))
    return found


@dataclass(frozen=True)
class TaskPrompt:
    """What a user says, and what judges any reply to it."""

    text: str
    task: Asked | StoryRequest

    @property
    def messages(self) -> list[Message]:
        """The conversation up to where the assistant replies."""
        return [("user", self.text)]


def _world(held_out: bool) -> WorldSettings:
    """Held out: stories about a person who wishes for a thing that no training pairs them with."""
    return WorldSettings(split="new_pairs" if held_out else "train")


def request_prompts(
    n: int, seed: int, held_out: bool = False, with_length: bool = True
) -> list[TaskPrompt]:
    """Requests for a story about a person, a thing and a place.

    Args:
        n, seed: how many, and of the draw.
        held_out: about pairs of person and thing that no model of the book was trained on.
        with_length: ask for a number of sentences, too.
    """
    world, found = _world(held_out), []
    chance = random.Random(f"requests {seed}/{held_out}")
    while len(found) < n:
        person, thing = chance.choice(world.used_people), chance.choice(world.things)
        if world.may_wish(person, thing):
            length = chance.choice(list(NUMBERS)) if with_length else 0
            request = StoryRequest(person, thing, chance.choice(world.places), length)
            found.append(TaskPrompt(request.wording(chance), request))
    return found


def question_prompts(n: int, seed: int, held_out: bool = False) -> list[TaskPrompt]:
    """Questions that are asked before the story which answers them; arguments as above."""
    world, found = _world(held_out), []
    chance = random.Random(f"questions {seed}/{held_out}")
    for _ in range(n):
        teller = Drawing(chance)
        state = tell(teller, world)
        question = chance.choice(all_questions(state, world.asked_kinds))
        text = f"{chance.choice(question_texts(question))} {teller.text}"
        found.append(TaskPrompt(text, Asked(question, state)))
    return found


def repeated(prompts: Sequence[AnyPrompt], group_size: int) -> list[AnyPrompt]:
    """Each prompt so many times, one after the other: the rows of `grpo_step`."""
    return [prompt for prompt in prompts for _ in range(group_size)]


# ------------------------------------------------------------------------------------------- rules


def does_task(samples: Samples) -> torch.Tensor:
    """1 for each reply that ended and does what its prompt's `task` asks for, else 0: `(B,)`."""
    done = [
        prompt.task.judge(text).is_right
        for prompt, text in zip(samples.prompts, samples.texts, strict=True)
    ]
    return (torch.tensor(done) & samples.has_ended).float()


def is_right_and_short(samples: Samples) -> torch.Tensor:
    """1 for each reply that is the right result and nothing else, else 0: `(B,)`."""
    short = [bool(re.fullmatch(r"\d+\.?", text.strip())) for text in samples.texts]
    return does_task(samples) * torch.tensor(short).float()


def tells_soundly(samples: Samples) -> torch.Tensor:
    """1 for each story that meets all constraints and nowhere contradicts itself: `(B,)`."""
    sound = [read_scene(text).is_consistent for text in samples.texts]
    return does_task(samples) * torch.tensor(sound).float()


# ------------------------------------------------------------------------------------------- tasks


@dataclass(frozen=True)
class Checked:
    """A task whose replies a rule checks.

    Args:
        prompts: so many, by a seed, held out from all training or not.
        reward: the rule.
        longest: most tokens of a reply.
    """

    prompts: Callable[[int, int, bool], list[AnyPrompt]]
    reward: Reward
    longest: int


SHORT_SUMS = Checked(sum_prompts, is_right_and_short, LONGEST_SUM)
STORIES = Checked(request_prompts, tells_soundly, 100)
STORIES_OF_ANY_LENGTH = Checked(partial(request_prompts, with_length=False), tells_soundly, 100)
EARLY_QUESTIONS = Checked(question_prompts, does_task, 40)


def try_task(
    task: Checked,
    policy: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[AnyPrompt],
    n_tries: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Samples:
    """Let a policy reply several times to each prompt; the replies to one stand side by side."""
    rows = repeated(prompts, n_tries)
    return sample_replies(
        policy,
        tokenizer,
        rows,
        temperature=temperature,
        max_new_tokens=task.longest,
        generator=generator,
    )
