"""Fine-tuning all of GPT on fifty examples, and what is said to help: three seeds of each.

    python -m aigc_lab.training.overfitting          # a few minutes, one core

The task is that of `wish_stories`. What is measured lies in
`aigc_lab/weights/overfitting/results.json`; chapter 10 prints it.
"""

import copy
import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from aigc_lab.data.labelled import encode_for_gpt, wish_stories
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.models.heads import GPTClassifier, set_dropout
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.fine_tuning import (
    FineTuning,
    accuracy,
    fine_tune,
    mean_class_loss,
)
from aigc_lab.training.recorded import reader_of, write_results

RESULTS = FOLDER / "overfitting" / "results.json"
COMMAND = "python -m aigc_lab.training.overfitting"
FAR_AWAY = 10**8  # number of a story that no pretraining has read
DROPOUT, DECAY = 0.3, 1.0
CURES = ("none", "early stopping", "dropout", "weight decay")


@dataclass(frozen=True)
class Overfitting:
    """What is measured.

    Args:
        n_examples: to learn from.
        n_validation: on which early stopping looks.
        n_test: on which everything is measured.
        n_steps, batch_size, lr: of each training.
        every: steps from one look to the next.
        seeds: of the examples and of the training.
    """

    n_examples: int = 50
    n_validation: int = 100
    n_test: int = 300
    n_steps: int = 50
    batch_size: int = 16
    lr: float = 1e-3
    every: int = 10
    seeds: tuple[int, ...] = (0, 1, 2)


def run(task: Overfitting, show_progress: bool = True) -> dict[str, Any]:
    """Train with all cures and seeds.

    Returns:
        The settings; and for each cure a list with, for each seed, the looks at the examples and
        the validation stories ("steps", "train", "validation") and at the end "test_loss" and
        "test_accuracy".
    """
    stories = WorldSettings(mix=(1.0, 0.0, 0.0, 0.0), n_events=(1, 4))
    held_out = TinyWorld(stories.replace(seed=1))
    n = task.n_validation + task.n_test
    others = wish_stories(held_out, n, balanced=True)
    validation, test = others[: task.n_validation], others[task.n_validation :]
    pretrained, tokenizer = load_shipped("base")
    encode = partial(encode_for_gpt, tokenizer, max_length=pretrained.config.context_length)
    found: dict[str, Any] = {"settings": dataclasses.asdict(task)}
    with tqdm(total=len(CURES) * len(task.seeds), disable=not show_progress) as bar:
        for cure in CURES:
            found[cure] = []
            for seed in task.seeds:
                first = (1 + seed) * FAR_AWAY
                examples = wish_stories(TinyWorld(stories), task.n_examples, first, balanced=True)
                torch.manual_seed(seed)
                model = GPTClassifier(copy.deepcopy(pretrained), 2)
                set_dropout(model, DROPOUT if cure == "dropout" else 0.0)
                settings = FineTuning(
                    task.n_steps,
                    task.batch_size,
                    task.lr,
                    weight_decay=DECAY if cure == "weight decay" else 0.0,
                    seed=seed,
                    evaluate_every=task.every,
                    keep_best=cure == "early stopping",
                )
                looks = fine_tune(model, encode, examples, settings, validation)
                found[cure].append(
                    {
                        "steps": [look.step for look in looks],
                        "train": [round(look.train_loss, 4) for look in looks],
                        "validation": [round(look.held_out_loss, 4) for look in looks],
                        "test_loss": round(mean_class_loss(model, encode, test), 4),
                        "test_accuracy": round(accuracy(model, encode, test), 4),
                    }
                )
                bar.update()
    return found


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
def main(results: Path) -> None:
    """Run the comparison and write its results."""
    torch.set_num_threads(1)
    write_results(results, run(Overfitting()))


if __name__ == "__main__":
    main(prog_name=COMMAND)
