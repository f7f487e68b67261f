"""What a training run leaves on disk, and how it goes on from there.

A run is a folder with two files: `log.jsonl`, one line every few steps, and
`checkpoint.safetensors`, written when the run begins, at intervals, and at the end.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn

from aigc_lab.files import write_atomically
from aigc_lab.training.checkpoints import load_checkpoint, save_checkpoint

LOG_FILE, CHECKPOINT_FILE = "log.jsonl", "checkpoint.safetensors"


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Args:
        n_steps: number of updates.
        n_warmup: updates in which the learning rate rises.
        last_rate: share of the learning rate that is left at the end of the half cosine.
        clip: largest norm of the gradients.
        accumulate: batches of one update; their gradients are added, as if they were one batch.
        bfloat16: compute matrix products in bfloat16 where the model is on a GPU; on a processor
            it changes nothing.
        seed: of everything random inside the model, such as dropout.
        log_every: steps from one line of the log to the next.
        evaluate_every: steps from one evaluation to the next; 0 for one at the end only.
        checkpoint_every: steps from one checkpoint to the next; 0 for one at the end only.

    Raises:
        ValueError: a number that is too small, or a warm-up longer than the training.
    """

    n_steps: int
    n_warmup: int = 0
    last_rate: float = 0.0
    clip: float = 1.0
    accumulate: int = 1
    bfloat16: bool = False
    seed: int = 0
    log_every: int = 10
    evaluate_every: int = 0
    checkpoint_every: int = 0

    def __post_init__(self) -> None:
        for name in ("n_steps", "accumulate", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("evaluate_every", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0 (0: at the end)")
        if not 0 <= self.n_warmup <= self.n_steps:
            raise ValueError(f"n_warmup={self.n_warmup} must lie in 0 .. n_steps={self.n_steps}")
        if self.clip <= 0:
            raise ValueError(f"clip={self.clip} must be greater than 0")


@dataclass
class Progress:
    """How far a run has come; part of its checkpoint."""

    step: int = 0  # updates done
    tokens: int = 0  # targets seen
    seconds: float = 0.0  # at work, evaluations included, over all sessions
    loss_sum: float = 0.0  # over the targets since the last line of the log, in nats
    loss_count: int = 0


def begin_run(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    settings: TrainSettings,
    folder: Path,
) -> Progress:
    """Make the folder, set the seed, and write an empty log and the checkpoint of step 0.

    Raises:
        FileExistsError: there is a run in it.
    """
    if (folder / CHECKPOINT_FILE).exists():
        raise FileExistsError(
            f"{folder} already holds a run: resume it, take another folder, or delete it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    write_atomically(folder / LOG_FILE, b"")
    progress = Progress()
    save_run(model, optimizers, settings, folder, progress)  # so that every run can be resumed
    return progress


def resume_run(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    settings: TrainSettings,
    folder: Path,
) -> Progress:
    """Read the checkpoint, and cut off what the log says about later steps.

    Raises:
        FileNotFoundError, CheckpointError: no checkpoint, or one that cannot be used.
        ValueError: the run has other settings.
    """
    path = folder / CHECKPOINT_FILE
    _, notes = load_checkpoint(path, model, optimizers)
    theirs = notes.get("settings", {})
    for name, value in dataclasses.asdict(settings).items():
        if theirs.get(name) != value:
            raise ValueError(
                f"the run in {folder} has {name}={theirs.get(name)}, not {value}: "
                "resume with the settings that it began with, or begin a new run"
            )
    progress = Progress(**notes["progress"])
    lines = [line for line in read_log(folder) if line["step"] <= progress.step]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_atomically(folder / LOG_FILE, text.encode())
    return progress


def save_run(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    settings: TrainSettings,
    folder: Path,
    progress: Progress,
) -> None:
    """Write the checkpoint.

    Raises:
        FloatingPointError: a weight is not finite; the checkpoint before stays.
    """
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise FloatingPointError(
            f"a weight is not finite after step {progress.step}: lower the learning rate; the "
            "last checkpoint is good"
        )
    notes = {"settings": dataclasses.asdict(settings), "progress": dataclasses.asdict(progress)}
    save_checkpoint(folder / CHECKPOINT_FILE, model, optimizers, progress.step, notes=notes)


def write_line(
    log: TextIO, progress: Progress, eval_loss: float | None, lr: float, norm: float
) -> None:
    """Add a line to the log, and begin a new mean of the loss."""
    line = {
        "step": progress.step,
        "tokens": progress.tokens,
        "loss": progress.loss_sum / progress.loss_count,
        "eval_loss": eval_loss,
        "lr": lr,
        "gradient_norm": norm,
        "seconds": round(progress.seconds, 3),
    }
    log.write(json.dumps(line) + "\n")
    log.flush()
    progress.loss_sum, progress.loss_count = 0.0, 0


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's log. A last line that a crash has cut short is left out."""
    lines = []
    for line in (Path(folder) / LOG_FILE).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
