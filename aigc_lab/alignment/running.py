"""A run of reinforcement learning in a folder: steps, a log, checkpoints to go on from.

Each step draws its chance from its own number, so a run that was stopped and resumed is the same
run, bit for bit. What lies in the folder is described in `aigc_lab.training.run_folder`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from aigc_lab.training.interruptions import watch_ctrl_c
from aigc_lab.training.loop import highest_rates, save_if_due, set_rates
from aigc_lab.training.run_folder import (
    LOG_FILE,
    TrainSettings,
    begin_run,
    read_log,
    resume_run,
)

# What a step is given: its number, from 0, and its own source of chance.
Step = Callable[[int, torch.Generator], dict[str, Any]]


def run_steps(
    step: Step,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    settings: TrainSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    show_progress: bool = True,
) -> list[dict[str, Any]]:
    """Make `settings.n_steps` steps.

    Args:
        step: changes the model; returns numbers for the log.
        model, optimizers: what is saved. The learning rates fall in a straight line to
            `settings.last_rate` of what they are.
        settings: n_steps, last_rate, seed and checkpoint_every are used.
        folder: of the run; made if it does not exist.
        resume: go on from the checkpoint in the folder, with the same other arguments.
        show_progress: whether to show a bar.

    Returns:
        The lines of the log: what the steps returned, and the number of "step", from 1.

    Raises:
        FileExistsError, FileNotFoundError, CheckpointError, ValueError: as `train`.
        FloatingPointError: from the step; the last checkpoint stays.
        Stopped: Ctrl-C; the current step was finished and a checkpoint written.
    """
    folder = Path(folder)
    rates = highest_rates(optimizers)
    begin = resume_run if resume else begin_run
    progress = begin(model, optimizers, settings, folder)
    bar = tqdm(
        total=settings.n_steps, initial=progress.step, unit="step", disable=not show_progress
    )
    model.eval()  # dropout would make the policy that learns another than the one that wrote
    with bar, watch_ctrl_c() as ctrl_c, open(folder / LOG_FILE, "a", encoding="utf-8") as log:
        while progress.step < settings.n_steps:
            left = 1 - progress.step / settings.n_steps
            factor = settings.last_rate + (1 - settings.last_rate) * left
            set_rates(optimizers, rates, factor)
            chance = torch.Generator().manual_seed(settings.seed * 1_000_003 + progress.step)
            numbers = step(progress.step, chance)
            progress.step += 1
            log.write(json.dumps({"step": progress.step, **numbers}) + "\n")
            log.flush()
            bar.update()
            save_if_due(model, optimizers, settings, folder, progress, log, ctrl_c.pressed)
    return read_log(folder)
