"""From a finished run to a model that comes with the book.

python -m aigc_lab.training.shipping base             # from runs/base-full
"""

from pathlib import Path
from typing import Any

from torch import nn

from aigc_lab.data.sentence_batches import Vocabularies
from aigc_lab.data.tiny_world import TinyWorld
from aigc_lab.data.tiny_world.conversations import Conversations
from aigc_lab.data.tiny_world.settings import SPLITS
from aigc_lab.data.tiny_world.tasks import Unknowable
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.evaluation.chat_probes import chat_scores, prompts_of
from aigc_lab.evaluation.masked_words import make_questions, pair_accuracy, score
from aigc_lab.evaluation.spans import best_threshold, probe_reader, read_answers, world_questions
from aigc_lab.evaluation.translation import scores_by_split
from aigc_lab.evaluation.world_probes import (
    excess_loss,
    probe,
    story_scores,
    write_stories,
)
from aigc_lab.models.shipped import FOLDER, save_shipped
from aigc_lab.training.commands import ship_command
from aigc_lab.training.making_data import Data
from aigc_lab.training.recipe_data import (
    ConversationData,
    MaskedData,
    PairData,
    SpanData,
    TextData,
    WorldData,
)
from aigc_lab.training.recipes import RECIPES, get_recipe
from aigc_lab.training.run_folder import read_log
from aigc_lab.training.running import hash_of_run, run_recipe

N_STORIES, N_READ = 200, 8000
N_GREEDY, N_BEAMS = 1000, 50  # sentences of each split
N_MASKED = 200  # stories, with a masked word of each kind
N_TO_CHOOSE = 150  # stories, for the threshold of the reader
READER_SPLITS = ("train", "new_pairs", "new_people")
N_TALKS, CHAT_SPLITS = 250, ("train", "new_pairs")


def ship(name: str, run: str | Path, folder: str | Path = FOLDER) -> dict[str, Any]:
    """Probe the model of a finished run and write it to `folder`/`name`.

    Args:
        name: of the recipe, which must be of the tiny world or of its sentence pairs.
        run: folder of the run.
        folder: in which the models' folders lie.

    Returns:
        The scores. Of a language model: "stories", of `story_scores` for `N_STORIES` plain
        samples, with the loss above the floor on the "n_read" stories among `N_READ` held-out
        documents, which is more exact than that of a probe; and "worlds", of `probe` for each
        split of the held-out world. Of a translator: "greedy" and "beams", of `scores_by_split`. Of
        BERT: "words", of `aigc_lab.evaluation.masked_words.score`, and "pairs", of
        `pair_accuracy`. Of a model that converses: `chat_scores` for conversations of each split
        in `CHAT_SPLITS`, and as "new_wordings" the shares of refusals of questions that are worded
        as none in training; all of likeliest tokens.

    Raises:
        ValueError: the run is of another recipe or not finished, or the recipe is of no world.
        FileNotFoundError: there is no run.
    """
    recipe = get_recipe(name)
    if isinstance(recipe.data, TextData):
        raise ValueError(f"{name!r} learns from a text and not from the tiny world: nothing probes")
    log = read_log(run)
    n_steps = log[-1]["step"] if log else 0
    if n_steps < recipe.training.n_steps:
        raise ValueError(
            f"the run in {run} is at step {n_steps} of {recipe.training.n_steps}: finish it with "
            f"`python -m aigc_lab train {name} --resume`"
        )
    model, data, log = run_recipe(recipe, run, resume=True, show_progress=False)
    if isinstance(recipe.data, PairData):
        scores = _translator_scores(model, data.tokenizer)
    elif isinstance(recipe.data, ConversationData):
        scores = _chat_scores(model, data.tokenizer, recipe.data)
    elif isinstance(recipe.data, SpanData):
        scores = _reader_scores(model, data.tokenizer, recipe.data)
    elif isinstance(recipe.data, MaskedData):
        scores = _masked_scores(model, data, recipe.data)
    else:
        scores = _language_scores(model, data.tokenizer, recipe.data)
    notes = {"log": log, "scores": scores}
    save_shipped(Path(folder) / name, model, data.tokenizer, hash_of_run(run, recipe), notes)
    return scores


def _language_scores(model: nn.Module, tokenizer: Tokenizer, data: WorldData) -> dict[str, Any]:
    stories = story_scores(write_stories(model, tokenizer, N_STORIES))
    documents = TinyWorld(data.held_out).documents(N_READ)
    read = [document for document in documents if document.kind == "story"]
    stories |= {"excess": excess_loss(model, tokenizer, read)["story"], "n_read": len(read)}
    worlds = {
        split: probe(model, tokenizer, data.held_out.replace(split=split)) for split in SPLITS
    }
    return {"stories": stories, "worlds": worlds}


def _chat_scores(model: nn.Module, tokenizer: Tokenizer, data: ConversationData) -> dict[str, Any]:
    scores = {}
    for split in CHAT_SPLITS:
        talks = Conversations(data.held_out.replace(split=split)).conversations(N_TALKS)
        scores[split] = chat_scores(model, tokenizer, prompts_of(talks))
    talks = Conversations(data.held_out, new_wordings=True).conversations(N_TALKS)
    open_ones = [prompt for prompt in prompts_of(talks) if isinstance(prompt.task, Unknowable)]
    scores["new_wordings"] = chat_scores(model, tokenizer, open_ones)["right"]
    return scores


def _reader_scores(model: nn.Module, tokenizer: Tokenizer, data: SpanData) -> dict[str, Any]:
    # The threshold is chosen on stories of which none is in a score.
    to_choose = world_questions(tokenizer, data.held_out.replace(seed=2), N_TO_CHOOSE)
    answers = read_answers(model, tokenizer, to_choose)
    threshold = best_threshold(answers, [question.answer for question in to_choose])
    scores: dict[str, Any] = {"threshold": threshold}
    for split in READER_SPLITS:
        found = probe_reader(model, tokenizer, data.held_out.replace(split=split), threshold)
        scores[split] = {name: kind._asdict() for name, kind in found.items()}
    return scores


def _masked_scores(model: nn.Module, data: Data, told: MaskedData) -> dict[str, Any]:
    world = TinyWorld(told.held_out)
    texts = [document.text for document in world.documents(N_MASKED)]
    by_kind = score(model, data.tokenizer, make_questions(world, texts))
    return {
        "words": {kind: found._asdict() for kind, found in by_kind.items()},
        "pairs": pair_accuracy(model, data.held_out),
    }


def _translator_scores(model: nn.Module, vocabularies: Vocabularies) -> dict[str, Any]:
    return {
        "greedy": scores_by_split(model, vocabularies, N_GREEDY),
        "beams": scores_by_split(model, vocabularies, N_BEAMS, n_beams=4),
    }


main = ship_command(ship, RECIPES)


if __name__ == "__main__":
    main(prog_name="python -m aigc_lab.training.shipping")
