"""What BERT's second task costs or brings: three ways to pretrain a tiny one, three seeds each.

    python -m aigc_lab.training.pair_task          # six minutes, one core

The ways are whole stories without the second loss, pairs of which half are wrong with it, and the
same pairs without it. All are tested on the masked words of whole stories. What is measured lies in
`aigc_lab/weights/pair_task/results.json`; chapter 09 prints it.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from aigc_lab.data.masking import PAD, StoryPairs, make_masking_tokenizer
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.evaluation.masked_words import pair_accuracy
from aigc_lab.models.bert import BERTConfig
from aigc_lab.models.bert_pretraining import BERTForPretraining, masked_loss, pretraining_loss
from aigc_lab.training.loop import mean_loss, training_steps
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.recorded import reader_of, write_results
from aigc_lab.training.run_folder import TrainSettings

RESULTS = Path(__file__).resolve().parents[1] / "weights" / "pair_task" / "results.json"
COMMAND = "python -m aigc_lab.training.pair_task"
# Each way: the pairing of `StoryPairs`, and the loss.
WAYS = {
    "whole stories": ("true", masked_loss),
    "pairs, both losses": ("next", pretraining_loss),
    "pairs, masked loss only": ("next", masked_loss),
}
MEASURES = ("masked_loss", "pair_accuracy")


def small_world() -> WorldSettings:
    """Few people, places and things, so that a tiny model learns something in a minute."""
    return WorldSettings(
        mix=(1.0, 0.0, 0.0, 0.0),
        people=("Mei", "Omar", "Yuki", "Kofi"),
        places=("garden", "river", "hill", "market"),
        things=("lamp", "kite", "ring", "drum"),
        colours=("red", "blue"),
        n_people=(2, 2),
        n_things=(1, 1),
        n_events=(1, 2),
    )


@dataclass(frozen=True)
class PairTask:
    """What is trained.

    Args:
        d_model, n_layers: of the models.
        n_steps, n_warmup, lr: of each run.
        batch_size, max_length: pairs of a batch, and their longest.
        seeds: of the weights; each has its own part of the stories.
        n_test: batches of 50 pairs for the measurement.
        vocab_size, n_for_tokenizer: tokens, and stories from which they are learned.
        world: where the stories come from; those of the next seed are held out.
    """

    d_model: int = 64
    n_layers: int = 2
    n_steps: int = 500
    n_warmup: int = 40
    lr: float = 5e-3
    batch_size: int = 16
    max_length: int = 72
    seeds: tuple[int, ...] = (0, 1, 2)
    n_test: int = 8
    vocab_size: int = 400
    n_for_tokenizer: int = 400
    world: WorldSettings = field(default_factory=small_world)


def run(task: PairTask, show_progress: bool = True) -> dict[str, Any]:
    """Train all ways with all seeds.

    Returns:
        The settings; and for each way, a number for each seed: "masked_loss" in nats per masked
        word of held-out whole stories, and "pair_accuracy" on held-out pairs.
    """
    documents = TinyWorld(task.world).documents(task.n_for_tokenizer)
    tokenizer = make_masking_tokenizer((d.text for d in documents), task.vocab_size)
    held_out = TinyWorld(task.world.replace(seed=task.world.seed + 1))

    def tests(pairing: str) -> list:
        source = StoryPairs(held_out, tokenizer, 50, max_length=task.max_length, pairing=pairing)
        return [source.batch(step) for step in range(task.n_test)]

    whole, pairs = tests("true"), tests("next")
    found: dict[str, Any] = {name: {way: [] for way in WAYS} for name in MEASURES}
    with tqdm(total=len(task.seeds) * len(WAYS), disable=not show_progress) as bar:
        for seed in task.seeds:
            for way in WAYS:
                model = train(task, tokenizer, way, seed)
                loss = mean_loss(model, whole, masked_loss)
                found["masked_loss"][way].append(round(loss, 4))
                found["pair_accuracy"][way].append(round(pair_accuracy(model, pairs), 4))
                bar.update()
    return {"settings": dataclasses.asdict(task), **found}


def train(task: PairTask, tokenizer: Tokenizer, way: str, seed: int) -> BERTForPretraining:
    """One model."""
    pairing, loss = WAYS[way]
    torch.manual_seed(seed)
    model = BERTForPretraining(
        BERTConfig(
            tokenizer.vocab_size,
            tokenizer.special_tokens[PAD],
            task.max_length,
            d_model=task.d_model,
            n_layers=task.n_layers,
            init_std=task.d_model**-0.5,
            copy_init=1.0,
            match_init=0.7,
        )
    )
    source = StoryPairs(
        TinyWorld(task.world),
        tokenizer,
        task.batch_size,
        max_length=task.max_length,
        pairing=pairing,
        first_step=seed * task.n_steps,
    )
    optimizers = make_optimizers(model, task.lr, weight_decay=0.01, muon=True)
    settings = TrainSettings(task.n_steps, n_warmup=task.n_warmup)
    for _ in training_steps(model, optimizers, source, settings, loss):
        pass
    return model


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
def main(results: Path) -> None:
    """Run the comparison and write its results."""
    torch.set_num_threads(1)
    write_results(results, run(PairTask()))


if __name__ == "__main__":
    main(prog_name=COMMAND)
