"""What a model knows of the tiny world: its loss above the floor, its stories, its answers.

The world judges all three: it knows the probability of each document, reads stories, and knows
the answers.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from aigc_lab.data.batches import PackedDocuments
from aigc_lab.data.tiny_world import Document, TinyWorld, WorldSettings, judge, read_story
from aigc_lab.data.tiny_world.lexicon import OPENINGS
from aigc_lab.data.tiny_world.questions import (
    ANSWER,
    QUESTION,
    Question,
    all_questions,
    question_texts,
)
from aigc_lab.data.tiny_world.settings import KINDS
from aigc_lab.data.tiny_world.state import State
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.generation.complete import complete
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.gpt import GPT
from aigc_lab.training.loop import mean_loss

GREEDY = Sampling(temperature=0)
DOCUMENTS_AT_ONCE = 24
STORY_TOKENS, ANSWER_TOKENS = 160, 24  # more than the longest of each has


def excess_loss(
    model: GPT, tokenizer: Tokenizer, documents: Sequence[Document], start: str = "<|endoftext|>"
) -> dict[str, float]:
    """Loss above the floor, in nats per target, for each kind among the documents.

    Args:
        model, tokenizer: the model.
        documents: at least one; a document's targets are its tokens and the end.
        start: the special token that begins and ends every document.
    """
    found = {}
    for kind in KINDS:
        mine = [document for document in documents if document.kind == kind]
        if not mine:
            continue
        ids = [tokenizer.encode(document.text) for document in mine]
        batches = []
        for first in range(0, len(ids), DOCUMENTS_AT_ONCE):
            some = ids[first : first + DOCUMENTS_AT_ONCE]
            source = PackedDocuments(
                some.__getitem__,
                tokenizer.special_tokens[start],
                model.config.context_length,
                len(some),
            )
            batches.append(source.batch(0))
        floor = -sum(document.log_prob for document in mine)
        floor /= sum(batch.n_targets for batch in batches)
        found[kind] = mean_loss(model, batches) - floor
    return found


def write_stories(
    model: GPT, tokenizer: Tokenizer, n: int, sampling: Sampling | None = None, seed: int = 0
) -> list[str]:
    """n stories, without questions, that begin with the first words of the world's stories.

    These words have the frequencies that they have in the world, so that plain sampling from a
    perfect model gives the world's own stories.
    """
    words = [OPENINGS[i % len(OPENINGS)].split()[0] for i in range(n)]
    generator = torch.Generator().manual_seed(seed)
    rest = complete(model, tokenizer, words, STORY_TOKENS, sampling, generator=generator)
    return [word + more for word, more in zip(words, rest, strict=True)]


def story_scores(stories: Iterable[str]) -> dict[str, float]:
    """Shares of stories that are grammatical, and that are consistent as well."""
    readings = [read_story(story) for story in stories]
    return {
        "grammatical": sum(reading.is_grammatical for reading in readings) / len(readings),
        "consistent": sum(reading.is_consistent for reading in readings) / len(readings),
    }


def questions_about(
    documents: Iterable[Document], kinds: tuple[str, ...]
) -> list[tuple[str, Question, State]]:
    """Every question of these kinds about each story: its prompt, the question, and the state.

    The wordings of a question take turns.
    """
    asked = []
    for document in documents:
        if document.kind not in ("story", "questions"):
            continue
        story = document.text.split("\n")[0]
        for question in all_questions(document.state, kinds):
            wordings = question_texts(question)
            wording = wordings[len(asked) % len(wordings)]
            # The space after "A:" belongs to the answer's first token.
            prompt = story + QUESTION + wording + ANSWER.rstrip()
            asked.append((prompt, question, document.state))
    return asked


def answer_scores(
    model: GPT,
    tokenizer: Tokenizer,
    asked: Sequence[tuple[str, Question, State]],
    sampling: Sampling = GREEDY,
    seed: int = 0,
) -> dict[str, float]:
    """Share of right answers, "overall" and for each kind of question.

    Args:
        model, tokenizer: the model.
        asked: what `questions_about` returns.
        sampling: how the answers are drawn.
        seed: for the drawing.
    """
    generator = torch.Generator().manual_seed(seed)
    prompts = [prompt for prompt, _, _ in asked]
    said = complete(model, tokenizer, prompts, ANSWER_TOKENS, sampling, generator=generator)
    right: dict[str, list[bool]] = {"overall": []}
    for answer, (_, question, state) in zip(said, asked, strict=True):
        verdict = judge(question, answer, state).is_right
        right["overall"].append(verdict)
        right.setdefault(question.kind, []).append(verdict)
    return {kind: sum(verdicts) / len(verdicts) for kind, verdicts in right.items()}


def probe(
    model: GPT, tokenizer: Tokenizer, settings: WorldSettings, n_documents: int = 400
) -> dict[str, Any]:
    """Loss and answers on documents of one world; half a minute on a processor.

    Args:
        model, tokenizer: the model.
        settings: of a world that it was not trained on.
        n_documents: for the loss; questions are asked about the first quarter.

    Returns:
        "excess" and "answers" as above; "n_questions" that were asked; and "n_too_long", the
        number of documents that do not fit into the context, as happens where names are new and
        take several tokens. They are left out.
    """
    room = model.config.context_length
    made = list(TinyWorld(settings).documents(n_documents))
    documents = [d for d in made if len(tokenizer.encode(d.text)) < room]
    asked = questions_about(documents[: n_documents // 4], settings.asked_kinds)
    return {
        "excess": excess_loss(model, tokenizer, documents),
        "answers": answer_scores(model, tokenizer, asked),
        "n_questions": len(asked),
        "n_too_long": len(made) - len(documents),
    }
