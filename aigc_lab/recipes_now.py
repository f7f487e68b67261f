"""What the recipes of shipped models are now: their hashes, and the commands that run them."""

from aigc_lab.alignment.recipes import ALIGNED, aligned_recipe
from aigc_lab.training.recipes import RECIPES, get_recipe


def hash_now(name: str, tokenizer: bytes) -> str | None:
    """The hash of the full recipe of this name; None if there is none.

    Args:
        name: of the recipe, and of the model that ships.
        tokenizer: the bytes of the model's tokenizer file, which some recipes depend on.
    """
    if name in ALIGNED:
        return aligned_recipe(name).sha256()
    return get_recipe(name).sha256(tokenizer) if name in RECIPES else None


def command_of(name: str) -> str:
    """The command that makes this model anew."""
    return f"python -m aigc_lab {'align' if name in ALIGNED else 'train'} {name} --preset full"
