"""A run of reinforcement learning in a folder: steps, a log, checkpoints to go on from.

Each step draws its chance from its own number, so a run that was stopped and resumed is the same
run, bit for bit. What lies in the folder is described in `aigc_lab.training.run_folder`.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from aigc_lab.training.interruptions import Stopped, watch_ctrl_c
from aigc_lab.training.run_folder import (
    CHECKPOINT_FILE,
    LOG_FILE,
    TrainSettings,
    begin_run,
    read_log,
    resume_run,
    save_run,
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
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
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
            for optimizer, own_rates in zip(optimizers, rates, strict=True):
                for group, rate in zip(optimizer.param_groups, own_rates, strict=True):
                    group["lr"] = rate * factor
            chance = torch.Generator().manual_seed(settings.seed * 1_000_003 + progress.step)
            numbers = step(progress.step, chance)
            progress.step += 1
            log.write(json.dumps({"step": progress.step, **numbers}) + "\n")
            log.flush()
            bar.update()
            is_last = progress.step == settings.n_steps
            every = settings.checkpoint_every
            if is_last or ctrl_c.pressed or (every and progress.step % every == 0):
                os.fsync(log.fileno())  # no checkpoint without the lines before it
                save_run(model, optimizers, settings, folder, progress)
            if ctrl_c.pressed and not is_last:
                raise Stopped(
                    f"stopped after step {progress.step} of {settings.n_steps}; "
                    f"{folder / CHECKPOINT_FILE} is written: resume (--resume, or resume=True) "
                    "to go on as if nothing had happened"
                )
    return read_log(folder)
