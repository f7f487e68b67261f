"""What instruction tuning is made of, tried one by one: which tokens are learned, and refusals.

    replies      the loss of the assistant's words only, as the book's model
    everything   the loss of all words, the user's and the marks too
    no refusals  replies only, and no question in training is unanswerable

Each way with three seeds, from the base model, for the same number of steps on as many
conversations. Recorded in `aigc_lab/weights/chat_ways/results.json`; a run takes about 15 minutes
of one core.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from aigc_lab.data.tiny_world.conversations import Conversations
from aigc_lab.evaluation.chat_probes import chat_scores, prompts_of
from aigc_lab.models.shipped import FOLDER
from aigc_lab.training.loop import mean_loss, training_steps
from aigc_lab.training.making_data import make_data
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.recipes import Recipe, get_recipe
from aigc_lab.training.recorded import reader_of, write_results
from aigc_lab.training.running import make_model

RESULTS = FOLDER / "chat_ways" / "results.json"
COMMAND = "python -m aigc_lab.training.chat_ways"
WAYS: dict[str, dict[str, Any]] = {
    "replies": {},
    "everything": {"replies_only": False},
    "no refusals": {"unanswerable": 0.0},
}


@dataclass(frozen=True)
class ChatWays:
    """The comparison.

    Args:
        n_steps, n_conversations: of each training, and of each of its batches.
        n_held_out: conversations on which replies are judged.
        seeds: each has its own conversations.
    """

    n_steps: int = 100
    n_conversations: int = 16
    n_held_out: int = 24
    seeds: tuple[int, ...] = (0, 1, 2)

    def recipe(self, way: str, seed: int) -> Recipe:
        """The book's recipe, changed."""
        recipe = get_recipe("chat")
        changes = {"n_conversations": self.n_conversations, "n_held_out": 48, **WAYS[way]}
        return dataclasses.replace(
            recipe,
            data=dataclasses.replace(recipe.data, **changes),
            training=dataclasses.replace(
                recipe.training, n_steps=self.n_steps, n_warmup=self.n_steps // 15
            ),
            seed=seed,
        )


def run(study: ChatWays, path: Path | None = None, show_progress: bool = True) -> dict[str, Any]:
    """Train and judge all ways with all seeds.

    Args:
        study: the comparison.
        path: where results are written after each training, if anywhere.
        show_progress: whether to show a bar.

    Returns:
        The settings; and for each way a list with one entry for each seed: "loss" on held-out
        replies in nats per token, "n_targets" that were learned from, and the "scores" of
        `chat_scores`.
    """
    found: dict[str, Any] = {"settings": dataclasses.asdict(study), "ways": {w: [] for w in WAYS}}
    with tqdm(total=len(study.seeds) * len(WAYS), disable=not show_progress) as bar:
        for seed in study.seeds:
            for way in WAYS:
                found["ways"][way].append(_train(study, way, seed))
                if path is not None:
                    write_results(path, found)
                bar.update()
    return found


def _train(study: ChatWays, way: str, seed: int) -> dict[str, Any]:
    recipe = study.recipe(way, seed)
    data, model = make_data(recipe), make_model(recipe)
    optimizers = make_optimizers(model, recipe.lr, muon=True, muon_lr=recipe.muon_lr)
    for progress, _ in training_steps(model, optimizers, data.source, recipe.training, data.loss):
        n_targets = progress.tokens
    talks = Conversations(recipe.data.held_out).conversations(study.n_held_out)
    return {
        "loss": round(mean_loss(model, data.held_out), 4),
        "n_targets": n_targets,
        "scores": chat_scores(model, data.tokenizer, prompts_of(talks)),
    }


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
def main(results: Path) -> None:
    """Run the comparison and write its results."""
    torch.set_num_threads(1)
    run(ChatWays(), results)


if __name__ == "__main__":
    main(prog_name=COMMAND)
