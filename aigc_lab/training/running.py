"""From a recipe to a trained model in a folder."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aigc_lab.data.batches import (
    Batch,
    OneAfterAnother,
    PackedDocuments,
    Source,
    Windows,
    consecutive_windows,
)
from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.download import find_data
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tokenizer import SINGLE_DIGIT_PATTERN, Tokenizer
from aigc_lab.files import write_atomically
from aigc_lab.models.gpt import GPT
from aigc_lab.training.loop import mean_loss, train
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.recipes import Recipe, TextData, WorldData
from aigc_lab.training.run_folder import CHECKPOINT_FILE

RECIPE_FILE, TOKENIZER_FILE = "recipe.json", "tokenizer.json"
START = "<|endoftext|>"  # begins and ends every document
QUESTIONS_ONLY = (0.0, 1.0, 0.0, 0.0)
FAR_AWAY = 10**9  # number of a document that no other training reaches


@dataclass(frozen=True)
class Data:
    """What a recipe trains and evaluates on.

    Args:
        source: of batches.
        held_out: batches of an evaluation.
        tokenizer: of the documents of a world; None for a text in characters.
        floor: of the held-out loss, in nats per target: what a model loses that knows the world
            exactly; None where nobody knows it.
    """

    source: Source
    held_out: list[Batch]
    tokenizer: Tokenizer | None = None
    floor: float | None = None


def run_recipe(
    recipe: Recipe, folder: str | Path, *, resume: bool = False, show_progress: bool = True
) -> tuple[GPT, Data, list[dict[str, Any]]]:
    """Train a model; on a GPU if there is one.

    The folder gets the log, checkpoints, the recipe with its hash, and the tokenizer of a world.

    Returns:
        The model, what it was trained on, and the lines of the log.

    Raises:
        FileExistsError: the folder has a run and `resume` is not set.
        ValueError: the run in the folder was begun by another recipe.
        FileNotFoundError: the recipe's text was not downloaded yet, or there is nothing to resume.
        (and what `aigc_lab.training.loop.train` raises)
    """
    folder = Path(folder)
    if resume:
        _check_recipe(recipe, folder)
        is_world = isinstance(recipe.data, WorldData)
        data = make_data(recipe, Tokenizer.load(folder / TOKENIZER_FILE) if is_world else None)
    else:
        refuse_existing_run(folder)
        data = make_data(recipe)
        _write_recipe(recipe, data.tokenizer, folder)
    model = make_model(recipe)
    if torch.cuda.is_available():
        model.cuda()
    log = train(
        model,
        make_optimizers(
            model,
            recipe.lr,
            weight_decay=recipe.weight_decay,
            muon=recipe.muon,
            muon_lr=recipe.muon_lr,
        ),
        data.source,
        recipe.training,
        folder,
        evaluate=lambda trained: mean_loss(trained, data.held_out),
        resume=resume,
        show_progress=show_progress,
    )
    return model, data, log


def make_model(recipe: Recipe) -> GPT:
    """The model before its first step."""
    torch.manual_seed(recipe.seed)
    return GPT(recipe.model)


# --------------------------------------------------------------------------------------------- data


def make_data(recipe: Recipe, tokenizer: Tokenizer | None = None) -> Data:
    """What a recipe trains on.

    Args:
        recipe: the recipe.
        tokenizer: of its world, if there is one already.

    Raises:
        FileNotFoundError: the text was not downloaded yet; names the command.
        ValueError: the model's vocabulary is not that of the data.
    """
    if isinstance(recipe.data, TextData):
        data, vocab_size = _text_data(recipe, recipe.data)
    else:
        told = recipe.data
        tokenizer = tokenizer or make_tokenizer(told.world, told.n_for_tokenizer, told.vocab_size)
        data, vocab_size = _world_data(recipe, told, tokenizer), tokenizer.vocab_size
    if vocab_size != recipe.model.vocab_size:
        raise ValueError(
            f"the recipe's model has vocab_size={recipe.model.vocab_size}, but its data have "
            f"{vocab_size} tokens: write that number into the recipe"
        )
    return data


def make_tokenizer(world: WorldSettings, n_documents: int, vocab_size: int) -> Tokenizer:
    """Learn a tokenizer from the first documents of a world; each digit is a token."""
    texts = (document.text for document in TinyWorld(world).documents(n_documents))
    return train_bpe(texts, vocab_size, pattern=SINGLE_DIGIT_PATTERN, special_tokens=[START])


def characters_of(text: str) -> tuple[torch.Tensor, str]:
    """Ids `(N,)` of the characters of a text, and the alphabet: id i is the character i of it."""
    alphabet = "".join(sorted(set(text)))
    id_of = {character: index for index, character in enumerate(alphabet)}
    return torch.tensor([id_of[character] for character in text]), alphabet


def _text_data(recipe: Recipe, data: TextData) -> tuple[Data, int]:
    ids, alphabet = characters_of(find_data(data.file).read_text(encoding="utf-8"))
    n_train = int(len(ids) * (1 - data.held_out))
    length = recipe.model.context_length
    source = Windows(ids[:n_train], length, data.batch_size, recipe.seed)
    return Data(source, list(consecutive_windows(ids[n_train:], length))), len(alphabet)


def _world_data(recipe: Recipe, data: WorldData, tokenizer: Tokenizer) -> Data:
    start, length = tokenizer.special_tokens[START], recipe.model.context_length

    def packed(world: TinyWorld, n_documents: int, **settings) -> PackedDocuments:
        def document_ids(index: int) -> list[int]:
            return tokenizer.encode(world.document(index).text)

        return PackedDocuments(document_ids, start, length, n_documents, **settings)

    other = TinyWorld(data.held_out)
    n_batches = max(1, data.n_held_out // data.n_documents)
    held_out = packed(other, data.n_documents)
    batches = [held_out.batch(step) for step in range(n_batches)]
    n_targets = sum(batch.n_targets for batch in batches)
    log_prob = sum(d.log_prob for d in other.documents(n_batches * data.n_documents))

    source: Source = packed(TinyWorld(data.world), data.n_documents)
    for number, lesson in reversed(list(enumerate(data.lessons, start=1))):
        world = data.world.replace(mix=QUESTIONS_ONLY, n_events=lesson.n_events)
        answers = packed(
            TinyWorld(world),
            lesson.n_documents,
            # Documents that do not come again later, when everything is learned.
            first_document=number * FAR_AWAY,
            is_target=lambda ids: in_answers(ids, tokenizer),
        )
        source = OneAfterAnother(answers, lesson.n_steps, source)
    return Data(source, batches, tokenizer, floor=-log_prob / n_targets)


def in_answers(ids: Sequence[int], tokenizer: Tokenizer) -> list[bool]:
    """Whether each token of a document, and its end, belongs to the answer of a question."""
    found, line = [], b""
    for token in ids:
        piece = tokenizer.token_bytes(token)
        found.append(line.startswith(b"A:") and b"\n" not in piece)
        line = (line + piece).rsplit(b"\n", 1)[-1]
    return [*found, False]


# ------------------------------------------------------------------------------------------- folder


def refuse_existing_run(folder: str | Path) -> None:
    """Raise FileExistsError if there is a run in the folder."""
    if (Path(folder) / CHECKPOINT_FILE).exists():
        raise FileExistsError(
            f"{folder} already holds a run: resume it (--resume), take another folder, or "
            "overwrite it (--force)"
        )


def _write_recipe(recipe: Recipe, tokenizer: Tokenizer | None, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer is not None:
        tokenizer.save(folder / TOKENIZER_FILE)
    content = {"sha256": hash_of_run(folder, recipe), "recipe": dataclasses.asdict(recipe)}
    write_atomically(folder / RECIPE_FILE, json.dumps(content, indent=1).encode())


def _check_recipe(recipe: Recipe, folder: Path) -> None:
    path = folder / RECIPE_FILE
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no run to resume: leave out --resume to begin one")
    if json.loads(path.read_bytes())["sha256"] != hash_of_run(folder, recipe):
        raise ValueError(
            f"the run in {folder} was begun with another recipe (see {path}): begin a new one "
            "(--force overwrites it), or bring the recipe back to what it was"
        )


def hash_of_run(folder: str | Path, recipe: Recipe) -> str:
    """The hash of a recipe, with the tokenizer of the run in this folder."""
    path = Path(folder) / TOKENIZER_FILE
    return recipe.sha256(path.read_bytes() if isinstance(recipe.data, WorldData) else b"")
