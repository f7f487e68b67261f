"""Beginning with the weights of a model that was trained on something else."""

import torch
from torch import nn


@torch.no_grad()
def start_from(model: nn.Module, trained: nn.Module) -> list[str]:
    """Give a model the weights of a trained one where both have the same; the rest stays new.

    A table with more rows than the trained one, for tokens that were added since, gets the trained
    rows first. The added ones become the mean of the old rows, which no output prefers (Hewitt
    2021), with a little of their own random start, without which they would be all the same token.

    Args:
        model: changes in place.
        trained: may have parts that `model` lacks, such as the head of another task.

    Returns:
        The names of the parameters of `model` that stay new.

    Raises:
        ValueError: no name in common, or one name with two shapes that are no longer table.
    """
    old = dict(trained.named_parameters())
    new = []
    for name, parameter in model.named_parameters():
        if name not in old:
            new.append(name)
            continue
        ours, theirs = parameter.shape, old[name].shape
        is_longer = len(ours) == 2 and ours[1:] == theirs[1:] and ours[0] > theirs[0]
        if ours != theirs and not is_longer:
            raise ValueError(
                f"{name} has shape {tuple(ours)}, but {tuple(theirs)} in the model to start from: "
                "give the new model the sizes of the old one (only a vocabulary may grow)"
            )
        parameter[: len(old[name])] = old[name]
        if is_longer:
            parameter[len(old[name]) :] += old[name].mean(dim=0)
    if len(new) == len(list(model.parameters())):
        raise ValueError(
            f"no parameter of {type(model).__name__} is one of {type(trained).__name__}, such as "
            f"{next(iter(old))!r}: these models have nothing in common"
        )
    return new
