"""Making what a recipe trains on."""

from dataclasses import dataclass
from functools import partial

import torch

from aigc_lab.data.batches import (
    AnyBatch,
    OneAfterAnother,
    Source,
    Windows,
    consecutive_windows,
)
from aigc_lab.data.bpe_training import train_bpe
from aigc_lab.data.chat import START, make_chat_tokenizer
from aigc_lab.data.download import find_data
from aigc_lab.data.masking import PAD, StoryPairs, make_masking_tokenizer
from aigc_lab.data.sentence_batches import PairSource, Vocabularies
from aigc_lab.data.spans import StoryQuestions
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tiny_world.translation import SentencePairs
from aigc_lab.data.tokenizer import SINGLE_DIGIT_PATTERN, Tokenizer
from aigc_lab.models.bert_pretraining import pretraining_loss
from aigc_lab.models.shipped import load_shipped
from aigc_lab.training.loop import Loss, loss_of_batch
from aigc_lab.training.losses import span_loss, translation_loss
from aigc_lab.training.packing import (
    FAR_AWAY,
    only_answers,
    packed_conversations,
    packed_documents,
)
from aigc_lab.training.recipe import Recipe
from aigc_lab.training.recipe_data import (
    ConversationData,
    MaskedData,
    PairData,
    SpanData,
    TextData,
    WorldData,
)

QUESTIONS_ONLY = (0.0, 1.0, 0.0, 0.0)
HELD_OUT_SEED = 10**6  # of sentence pairs; recipes have small seeds


@dataclass(frozen=True)
class Data:
    """What a recipe trains and evaluates on.

    Args:
        source: of batches.
        held_out: batches of an evaluation.
        tokenizer: of the documents of a world, or the vocabularies of sentence pairs; None for a
            text in characters.
        loss: of a model on a batch, summed over its targets.
        floor: of the held-out loss, in nats per target: what a model loses that knows the world
            exactly; None where nobody knows it.
    """

    source: Source
    held_out: list[AnyBatch]
    tokenizer: Tokenizer | Vocabularies | None = None
    loss: Loss = loss_of_batch
    floor: float | None = None


def make_data(recipe: Recipe, tokenizer: Tokenizer | Vocabularies | None = None) -> Data:
    """What a recipe trains on.

    Args:
        recipe: the recipe.
        tokenizer: of its texts, if there is one already.

    Raises:
        FileNotFoundError: the text was not downloaded yet; names the command.
        ValueError: the model's vocabulary is not that of the data.
    """
    told = recipe.data
    if isinstance(told, TextData):
        return _text_data(recipe, told)
    if isinstance(told, PairData):
        pairs = SentencePairs().pairs(told.n_for_vocabulary)
        vocabularies = tokenizer or Vocabularies.of(pairs)
        sizes = len(vocabularies.source), len(vocabularies.target)
        _check_size(
            recipe,
            {"source_vocab_size": sizes[0], "target_vocab_size": sizes[1]},
        )
        return _pair_data(recipe, told, vocabularies)
    if isinstance(told, MaskedData):
        return _masked_data(recipe, told, tokenizer)
    if isinstance(told, ConversationData):
        return _conversation_data(recipe, told, tokenizer)
    if isinstance(told, SpanData):
        return _span_data(recipe, told, tokenizer)
    tokenizer = tokenizer or make_tokenizer(told.world, told.n_for_tokenizer, told.vocab_size)
    _check_size(recipe, {"vocab_size": tokenizer.vocab_size})
    return _world_data(recipe, told, tokenizer)


def _check_size(recipe: Recipe, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        if getattr(recipe.model, name) != size:
            raise ValueError(
                f"the recipe's model has {name}={getattr(recipe.model, name)}, but its data make "
                f"it {size}: write that number into the recipe"
            )


def make_tokenizer(world: WorldSettings, n_documents: int, vocab_size: int) -> Tokenizer:
    """Learn a tokenizer from the first documents of a world; each digit is a token."""
    texts = (document.text for document in TinyWorld(world).documents(n_documents))
    return train_bpe(texts, vocab_size, pattern=SINGLE_DIGIT_PATTERN, special_tokens=[START])


def characters_of(text: str) -> tuple[torch.Tensor, str]:
    """Ids `(N,)` of the characters of a text, and the alphabet: id i is the character i of it."""
    alphabet = "".join(sorted(set(text)))
    id_of = {character: index for index, character in enumerate(alphabet)}
    return torch.tensor([id_of[character] for character in text]), alphabet


def _text_data(recipe: Recipe, data: TextData) -> Data:
    ids, alphabet = characters_of(find_data(data.file).read_text(encoding="utf-8"))
    _check_size(recipe, {"vocab_size": len(alphabet)})
    n_train = int(len(ids) * (1 - data.held_out))
    length = recipe.model.context_length
    source = Windows(ids[:n_train], length, data.batch_size, recipe.seed)
    return Data(source, list(consecutive_windows(ids[n_train:], length)))


def _world_data(recipe: Recipe, data: WorldData, tokenizer: Tokenizer) -> Data:
    length = recipe.model.context_length
    n_batches = max(1, data.n_held_out // data.n_documents)
    held_out = packed_documents(data.held_out, tokenizer, length, data.n_documents)
    batches = [held_out.batch(step) for step in range(n_batches)]
    n_targets = sum(batch.n_targets for batch in batches)
    documents = TinyWorld(data.held_out).documents(n_batches * data.n_documents)
    floor = -sum(document.log_prob for document in documents) / n_targets

    source: Source = packed_documents(data.world, tokenizer, length, data.n_documents)
    for number, lesson in reversed(list(enumerate(data.lessons, start=1))):
        answers = packed_documents(
            data.world.replace(mix=QUESTIONS_ONLY, n_events=lesson.n_events),
            tokenizer,
            length,
            lesson.n_documents,
            # Documents that do not come again later, when everything is learned.
            first_document=number * FAR_AWAY,
            is_target=only_answers(tokenizer),
        )
        source = OneAfterAnother(answers, lesson.n_steps, source)
    return Data(source, batches, tokenizer, floor=floor)


def _pair_data(recipe: Recipe, data: PairData, vocabularies: Vocabularies) -> Data:
    source = PairSource(SentencePairs(recipe.seed), vocabularies, data.batch_size)
    held_out = PairSource(SentencePairs(HELD_OUT_SEED), vocabularies, data.batch_size)
    batches = [held_out.batch(step) for step in range(max(1, data.n_held_out // data.batch_size))]
    loss = partial(translation_loss, label_smoothing=data.label_smoothing)
    return Data(source, batches, vocabularies, loss=loss)


def _masked_data(recipe: Recipe, data: MaskedData, tokenizer: Tokenizer | None) -> Data:
    if tokenizer is None:
        documents = TinyWorld(data.for_tokenizer).documents(data.n_for_tokenizer)
        tokenizer = make_masking_tokenizer((d.text for d in documents), data.vocab_size)
    _check_size(
        recipe,
        {"vocab_size": tokenizer.vocab_size, "pad_token": tokenizer.special_tokens[PAD]},
    )

    def pairs(world: WorldSettings, seed: int) -> StoryPairs:
        return StoryPairs(
            TinyWorld(world), tokenizer, data.batch_size, max_length=data.max_length, seed=seed
        )

    held_out = pairs(data.held_out, HELD_OUT_SEED)
    batches = [held_out.batch(step) for step in range(max(1, data.n_held_out // data.batch_size))]
    return Data(pairs(data.world, recipe.seed), batches, tokenizer, loss=pretraining_loss)


def _conversation_data(recipe: Recipe, data: ConversationData, tokenizer: Tokenizer | None) -> Data:
    if tokenizer is None:
        if recipe.start is None:
            raise ValueError(
                f"the recipe {recipe.name!r} learns conversations but starts from no model: give "
                "it start='base', whose tokenizer it needs"
            )
        tokenizer = make_chat_tokenizer(load_shipped(recipe.start)[1])
    _check_size(recipe, {"vocab_size": tokenizer.vocab_size})
    length = recipe.model.context_length
    # Held-out loss is always that of replies, so that two ways to learn can be compared.
    held_out = packed_conversations(data.held_out, tokenizer, length, data.n_conversations)
    n_batches = max(1, data.n_held_out // data.n_conversations)
    source = packed_conversations(
        data.world,
        tokenizer,
        length,
        data.n_conversations,
        replies_only=data.replies_only,
        unanswerable=data.unanswerable,
        first_document=recipe.seed * FAR_AWAY,
    )
    return Data(source, [held_out.batch(step) for step in range(n_batches)], tokenizer)


def _span_data(recipe: Recipe, data: SpanData, tokenizer: Tokenizer | None) -> Data:
    if tokenizer is None:
        if recipe.start is None:
            raise ValueError(
                f"the recipe {recipe.name!r} learns to mark answers but starts from no model: give "
                "it start='bert', whose tokenizer it needs"
            )
        tokenizer = load_shipped(recipe.start)[1]
    _check_size(
        recipe,
        {"vocab_size": tokenizer.vocab_size, "pad_token": tokenizer.special_tokens[PAD]},
    )

    def questions(world: WorldSettings, part: int, **settings) -> StoryQuestions:
        """Of stories that come in no other part of the training."""
        settings = {"n_stories": data.n_stories, "first_story": part * FAR_AWAY, **settings}
        length = recipe.model.max_length
        return StoryQuestions(
            TinyWorld(world), tokenizer, n_each=data.n_each, max_length=length, **settings
        )

    held_out = questions(data.held_out, 0)
    batches = [held_out.batch(step) for step in range(max(1, data.n_held_out // data.n_stories))]
    source: Source = questions(data.world, 0)
    for number, lesson in reversed(list(enumerate(data.lessons, start=1))):
        easy = data.world.replace(n_events=lesson.n_events)
        first = questions(easy, number, n_stories=lesson.n_documents)
        source = OneAfterAnother(first, lesson.n_steps, source)
    easiest = data.world.replace(n_events=(0, 1))
    finding = questions(easiest, len(data.lessons) + 1, find_words=True)
    source = OneAfterAnother(finding, data.n_finding, source)
    return Data(source, batches, tokenizer, loss=span_loss)
