"""Made-up tasks for small models, with a known best answer."""

import torch
import torch.nn.functional as F

NO_TARGET = -100  # cross_entropy leaves out targets of this value


def exact_distance(
    n: int,
    length: int,
    generator: torch.Generator,
    *,
    vocab_size: int = 8,
    distance: int = 3,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens; the target is the token that stood exactly `distance` places back.

    Args:
        n: number of sequences B.
        length: their length T.
        generator: draws the tokens.
        vocab_size: number of different tokens V; guessing costs log V nats.
        distance: how far back; the first `distance` targets are `NO_TARGET`.

    Returns:
        Tokens and targets, both `(B, T)` int64.

    Raises:
        ValueError: no place in the sequence has a target.
    """
    if not 1 <= distance < length:
        raise ValueError(f"distance={distance} must be at least 1 and less than length={length}")
    tokens = torch.randint(vocab_size, (n, length), generator=generator)
    return tokens, F.pad(tokens[:, :-distance], (distance, 0), value=NO_TARGET)
