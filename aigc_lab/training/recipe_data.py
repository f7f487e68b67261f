"""What a recipe says of its data, as plain values; see `aigc_lab.training.making_data`."""

from collections.abc import Iterator
from dataclasses import dataclass

from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tiny_world.translation import SentencePairs

# The hash of a recipe covers so many documents of its world, as a sample of what it says and how.
N_SAMPLES = 20


@dataclass(frozen=True)
class TextData:
    """Random windows of one text, character by character.

    Args:
        file: name of a file that `python -m aigc_lab download` fetches.
        held_out: share of the text, at its end, on which the model is evaluated.
        batch_size: windows in a batch.
    """

    file: str
    held_out: float
    batch_size: int

    def samples(self) -> Iterator[str]:
        """Nothing: the file has a checksum of its own."""
        yield from ()


@dataclass(frozen=True)
class Lesson:
    """Steps that read stories with questions and learn nothing but the answers.

    Args:
        n_steps: so many.
        n_documents: in a batch.
        n_events: least and largest number of things that happen in a story.
    """

    n_steps: int
    n_documents: int
    n_events: tuple[int, int]


@dataclass(frozen=True)
class WorldData:
    """Whole documents of the tiny world, packed, in tokens learned from the same world.

    Args:
        world: in which the model learns.
        held_out: the world in which it is evaluated.
        n_documents: in a batch.
        n_held_out: documents of an evaluation.
        vocab_size: tokens of the tokenizer.
        n_for_tokenizer: documents from which it is learned.
        lessons: with which training begins, one after the other; then everything is learned.
    """

    world: WorldSettings
    held_out: WorldSettings
    n_documents: int
    n_held_out: int
    vocab_size: int
    n_for_tokenizer: int
    lessons: tuple[Lesson, ...] = ()

    def samples(self) -> Iterator[str]:
        """The first documents, which change when the world's words do."""
        yield from _first_documents(self.world, self.held_out)


@dataclass(frozen=True)
class PairData:
    """English sentences about the tiny world with their Chinese translations.

    Args:
        batch_size: pairs in a batch.
        n_held_out: pairs of an evaluation.
        n_for_vocabulary: pairs whose words make the two vocabularies.
        label_smoothing: share of each target's probability that is spread over all words.
    """

    batch_size: int
    n_held_out: int
    n_for_vocabulary: int
    label_smoothing: float = 0.0

    def samples(self) -> Iterator[str]:
        """The first pairs, which change when the grammar or a word does."""
        for pair in SentencePairs().pairs(10 * N_SAMPLES):
            yield f"{pair.english_text}\n{pair.chinese_text}"


@dataclass(frozen=True)
class MaskedData:
    """Parts of stories in pairs, with masked tokens.

    Args:
        world: in which the model learns; its documents are stories.
        held_out: the world in which it is evaluated.
        for_tokenizer: the world of which the tokenizer is learned, all of its documents, so that
            questions can be read later.
        batch_size: pairs in a batch.
        max_length: longest pair, in tokens.
        n_held_out: pairs of an evaluation.
        vocab_size: tokens of the tokenizer.
        n_for_tokenizer: documents from which it is learned.
    """

    world: WorldSettings
    held_out: WorldSettings
    for_tokenizer: WorldSettings
    batch_size: int
    max_length: int
    n_held_out: int
    vocab_size: int
    n_for_tokenizer: int

    def samples(self) -> Iterator[str]:
        """The first stories, which change when the world's words do."""
        yield from _first_documents(self.world, self.held_out)


def _first_documents(*worlds: WorldSettings) -> Iterator[str]:
    for settings in worlds:
        for document in TinyWorld(settings).documents(N_SAMPLES):
            yield document.text
