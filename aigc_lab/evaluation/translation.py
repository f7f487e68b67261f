"""How well a model translates: BLEU, whole sentences, and where its attention looks.

Shapes: T target tokens and the end, S source tokens, H heads.
"""

from collections.abc import Sequence

import torch
from torch import nn

from aigc_lab.data.sentence_batches import Vocabularies, batch_of_pairs
from aigc_lab.data.tiny_world.translation import SPLITS, SentencePair, SentencePairs
from aigc_lab.evaluation.bleu import bleu
from aigc_lab.generation.translate import beam_translate, translate
from aigc_lab.models.modes import evaluation_mode

AT_ONCE = 64
CHARACTERS_PER_WORD = 3  # more than any translation has of them; a model that does not end is cut
SEED = 2 * 10**6  # of the sentences for the scores, far from all that are trained on


def translate_pairs(
    model: nn.Module,
    vocabularies: Vocabularies,
    pairs: Sequence[SentencePair],
    n_beams: int = 1,
) -> list[list[str]]:
    """The model's translation of each English sentence, as characters.

    Args:
        model, vocabularies: the model.
        pairs: what is to be translated.
        n_beams: 1 is greedy decoding, a batch at a time; more is beam search.
    """
    found: list[list[int]] = []
    at_once = AT_ONCE if n_beams == 1 else 1
    for first in range(0, len(pairs), at_once):
        source = batch_of_pairs(pairs[first : first + at_once], vocabularies).source
        room = min(CHARACTERS_PER_WORD * source.shape[1], model.config.max_length - 1)
        if n_beams == 1:
            found += translate(model, source, room)
        else:
            found.append(beam_translate(model, source, room, n_beams)[0].tokens)
    return [vocabularies.target.decode(ids) for ids in found]


def translation_scores(
    model: nn.Module,
    vocabularies: Vocabularies,
    pairs: Sequence[SentencePair],
    n_beams: int = 1,
) -> dict[str, float]:
    """BLEU over characters (0 to 100), and "exact", the share of sentences that are all right."""
    translations = translate_pairs(model, vocabularies, pairs, n_beams)
    references = [list(pair.chinese) for pair in pairs]
    right = [ours == theirs for ours, theirs in zip(translations, references, strict=True)]
    return {"bleu": bleu(translations, references), "exact": sum(right) / len(right)}


def scores_by_split(
    model: nn.Module, vocabularies: Vocabularies, n_pairs: int = 400, n_beams: int = 1
) -> dict[str, dict[str, float]]:
    """`translation_scores` on new sentences of each split of the sentence pairs."""
    return {
        split: translation_scores(
            model, vocabularies, list(SentencePairs(SEED, split).pairs(n_pairs)), n_beams
        )
        for split in SPLITS
    }


@torch.no_grad()
def attention_maps(
    model: nn.Module, vocabularies: Vocabularies, pair: SentencePair
) -> list[torch.Tensor]:
    """Where the decoder looks while it reads the right translation: one map a layer.

    Returns:
        For each layer the weights `(H, T, S)`; row t is of the step that predicts character t,
        and the last row of the one that predicts the end.
    """
    batch = batch_of_pairs([pair], vocabularies)
    with evaluation_mode(model):
        memory, mask = model.encode(batch.source)
        _, maps = model.decode(batch.read, memory, mask)
    return [weights[0] for weights in maps]


def alignment_accuracy(
    weights: torch.Tensor, pair: SentencePair, shift: int = 0
) -> tuple[int, int]:
    """How often the largest weight lies on a word that says the same as the character.

    Args:
        weights: `(T, S)`, one row for each character and the end.
        pair: with its links. Characters without a counterpart do not count.
        shift: 1 compares each character with the step after it, which has just read it.

    Returns:
        Number of characters that look at the right word, and of all that have one.
    """
    words: dict[int, set[int]] = {}
    for english, chinese in pair.links:
        words.setdefault(chinese, set()).add(english)
    looked = weights.argmax(dim=-1).tolist()
    right = sum(looked[character + shift] in linked for character, linked in words.items())
    return right, len(words)
