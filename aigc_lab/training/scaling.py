"""The scaling study: models of several sizes, each trained on several amounts of text.

    python -m aigc_lab.training.scaling                    # goes on where it stopped
    python -m aigc_lab.training.scaling --copy-init 0      # models that start at random

A cell of the study is one model trained on one amount of text, with a schedule of its own: the
learning rate of a run that stops early has to fall early. No document is read twice. What is kept
is the excess: the loss on held-out documents minus the loss of the world that made them, which
knows every probability exactly.

Sources: Kaplan et al. 2020 (scaling laws), Hoffmann et al. 2022 (a schedule for each run).
"""

import argparse
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from aigc_lab.data.tiny_world import TinyWorld
from aigc_lab.files import write_atomically
from aigc_lab.training.recipe_data import N_SAMPLES
from aigc_lab.training.recorded import read_results
from aigc_lab.training.scaling_cells import Documents, Study, run_cell

FOLDER = Path(__file__).resolve().parents[1] / "weights" / "scaling"
COMMAND = "python -m aigc_lab.training.scaling"


def hash_of(study: Study) -> str:
    """What the results depend on, in short: the settings, and what the worlds say."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(study), sort_keys=True).encode())
    for settings in (study.world, study.held_out):
        for document in TinyWorld(settings).documents(N_SAMPLES):
            digest.update(hashlib.sha256(document.text.encode()).digest())
    return digest.hexdigest()[:16]


def results_file(study: Study) -> Path:
    """Where the results of a study are kept that ships with the book."""
    return FOLDER / ("copying_start.json" if study.copy_init else "random_start.json")


def load_results(study: Study, path: Path | None = None) -> dict[str, Any]:
    """The results of the study as far as it has come: its settings and its `cells`.

    Args:
        study: whose results.
        path: by default those shipped.

    Raises:
        FileNotFoundError: it was never started.
        ValueError: the file is of other settings or another world.
    """
    path = path or results_file(study)
    results = read_results(path, COMMAND)
    if results["hash"] != hash_of(study):
        raise ValueError(
            f"{path} was made with other settings or another world: delete it and run `{COMMAND}`"
        )
    return results


def run_study(study: Study, path: Path | None = None, show_progress: bool = True) -> None:
    """Train all cells that are not in the results yet, writing after each.

    Args:
        study: what to train.
        path: of the results; by default those shipped.
        show_progress: whether to show bars.

    Raises:
        ValueError: the results are of other settings or another world.
    """
    path = path or results_file(study)
    results = {"hash": hash_of(study), "settings": dataclasses.asdict(study), "cells": []}
    if path.exists():
        results = load_results(study, path)
    widths = [d_model for d_model, *_ in study.sizes]
    done = {(widths.index(c["d_model"]), c["wanted_tokens"], c["seed"]) for c in results["cells"]}
    documents = Documents(study, show_progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    for cell in study.cells():
        if cell not in done:
            results["cells"].append(run_cell(study, cell, documents, show_progress))
            write_atomically(path, json.dumps(results, indent=1).encode())


def main() -> None:
    """Run the study from the command line."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.split("\n\n")[0])
    parser.add_argument("--results", type=Path, help="by default those shipped")
    parser.add_argument("--copy-init", type=float, default=Study.copy_init, help="of the models")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run_study(Study(copy_init=arguments.copy_init), arguments.results)


if __name__ == "__main__":
    main()
