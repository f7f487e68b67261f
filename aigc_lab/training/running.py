"""From a recipe to a trained model in a folder."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aigc_lab.data.sentence_batches import Vocabularies
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.files import write_atomically
from aigc_lab.models.kinds import build_model, load_tokenizer
from aigc_lab.models.shipped import load_shipped
from aigc_lab.models.starting import start_from
from aigc_lab.training.loop import mean_loss, train
from aigc_lab.training.making_data import Data, make_data
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.recipe import Recipe
from aigc_lab.training.recipe_data import TextData
from aigc_lab.training.run_folder import CHECKPOINT_FILE

RECIPE_FILE, TOKENIZER_FILE = "recipe.json", "tokenizer.json"


def run_recipe(
    recipe: Recipe, folder: str | Path, *, resume: bool = False, show_progress: bool = True
) -> tuple[nn.Module, Data, list[dict[str, Any]]]:
    """Train a model; on a GPU if there is one.

    The folder gets the log, checkpoints, the recipe with its hash, and the tokenizer if the recipe
    makes one.

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
        check_recipe_file(folder, lambda: hash_of_run(folder, recipe))
        data = make_data(recipe, _load_tokenizer(recipe, folder))
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
        loss=data.loss,
        evaluate=lambda trained: mean_loss(trained, data.held_out, data.loss),
        resume=resume,
        show_progress=show_progress,
    )
    return model, data, log


def make_model(recipe: Recipe) -> nn.Module:
    """The model before its first step.

    Raises:
        ShippedModelError: the one to start from is missing; names the command that trains it.
    """
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model)
    if recipe.start is not None:
        start_from(model, load_shipped(recipe.start)[0])
    return model


def refuse_existing_run(folder: str | Path) -> None:
    """Raise FileExistsError if there is a run in the folder."""
    if (Path(folder) / CHECKPOINT_FILE).exists():
        raise FileExistsError(
            f"{folder} already holds a run: resume it (--resume), take another folder, or "
            "overwrite it (--force)"
        )


def _load_tokenizer(recipe: Recipe, folder: Path) -> Tokenizer | Vocabularies | None:
    if isinstance(recipe.data, TextData):
        return None
    return load_tokenizer(recipe.model, folder / TOKENIZER_FILE)


def _write_recipe(recipe: Recipe, tokenizer: Tokenizer | Vocabularies | None, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer is not None:
        tokenizer.save(folder / TOKENIZER_FILE)
    write_recipe_file(folder, recipe, hash_of_run(folder, recipe))


def write_recipe_file(folder: Path, recipe: Any, sha256: str) -> None:
    """Write what a run is made by, a dataclass, with its hash."""
    content = {"sha256": sha256, "recipe": dataclasses.asdict(recipe)}
    write_atomically(folder / RECIPE_FILE, json.dumps(content, indent=1).encode())


def check_recipe_file(folder: Path, sha256: Callable[[], str]) -> None:
    """Refuse to resume what is not there, or was begun by another recipe than that of the hash.

    Raises:
        FileNotFoundError: no run in the folder.
        ValueError: one of another recipe.
    """
    path = folder / RECIPE_FILE
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no run to resume: leave out --resume to begin one")
    if json.loads(path.read_bytes())["sha256"] != sha256():
        raise ValueError(
            f"the run in {folder} was begun with another recipe (see {path}): begin a new one "
            "(--force overwrites it), or bring the recipe back to what it was"
        )


def hash_of_run(folder: str | Path, recipe: Recipe) -> str:
    """The hash of a recipe, with the tokenizer of the run in this folder."""
    path = Path(folder) / TOKENIZER_FILE
    return recipe.sha256(b"" if isinstance(recipe.data, TextData) else path.read_bytes())
