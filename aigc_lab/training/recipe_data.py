"""What a recipe says of its data, as plain values; see `aigc_lab.training.making_data`."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from aigc_lab.data.story_spans import ask_about
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tiny_world.conversations import Conversations
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


@dataclass(frozen=True)
class ConversationData:
    """Conversations about the tiny world, packed, in the tokens of the model to start from.

    Args:
        world: of the stories and sums from which the model learns.
        held_out: the world in which it is evaluated.
        n_conversations: in a batch.
        n_held_out: conversations of an evaluation.
        replies_only: whether nothing but what the assistant says is learned; else everything is.
        unanswerable: share of the questions about a story that nobody can answer, in training.
    """

    world: WorldSettings
    held_out: WorldSettings
    n_conversations: int
    n_held_out: int
    replies_only: bool = True
    unanswerable: float = 0.25

    def samples(self) -> Iterator[str]:
        """The first conversations, which change when their words do."""
        for settings in (self.world, self.held_out):
            for conversation in Conversations(settings).conversations(3 * N_SAMPLES):
                yield repr(conversation.messages())


@dataclass(frozen=True)
class SpanData:
    """Questions about stories whose answers are marked in them, in the tokens of the start.

    Args:
        world: in which the model learns; its documents are stories.
        held_out: the world in which it is evaluated.
        n_stories: in a batch.
        n_each: questions about each of them at most.
        n_held_out: stories of an evaluation.
        n_finding: steps with which training begins, in which the word that a question is about is
            to be marked and not its answer.
        lessons: that come then; after them the stories of `world`.
    """

    world: WorldSettings
    held_out: WorldSettings
    n_stories: int
    n_each: int
    n_held_out: int
    n_finding: int = 0
    lessons: tuple[Lesson, ...] = ()

    def samples(self) -> Iterator[str]:
        """The first questions, which change when their words do."""
        for settings in (self.world, self.held_out):
            for number, document in enumerate(TinyWorld(settings).documents(N_SAMPLES)):
                for asked in ask_about(document.text, self.n_each, Random(number), settings):
                    yield repr(asked)


def _first_documents(*worlds: WorldSettings) -> Iterator[str]:
    for settings in worlds:
        for document in TinyWorld(settings).documents(N_SAMPLES):
            yield document.text
