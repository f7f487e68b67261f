"""Batches of the tiny world's documents and conversations, and which tokens are learned."""

from collections.abc import Callable, Sequence

from aigc_lab.data.batches import PackedDocuments
from aigc_lab.data.chat import START, encode_conversation, in_replies
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.data.tiny_world.conversations import Conversations
from aigc_lab.data.tokenizer import Tokenizer

FAR_AWAY = 10**9  # number of a document that no other training reaches


def packed_documents(
    world: WorldSettings, tokenizer: Tokenizer, context_length: int, n_documents: int, **settings
) -> PackedDocuments:
    """Batches of a world's documents, which begin and end with the start token.

    Args:
        world: where the documents come from.
        tokenizer: of them.
        context_length, n_documents: of a batch.
        **settings: of `PackedDocuments`.
    """
    documents = TinyWorld(world)

    def document_ids(index: int) -> list[int]:
        return tokenizer.encode(documents.document(index).text)

    start = tokenizer.special_tokens[START]
    return PackedDocuments(document_ids, start, context_length, n_documents, **settings)


def only_answers(tokenizer: Tokenizer) -> Callable[[Sequence[int]], list[bool]]:
    """What `PackedDocuments` takes as `is_target` if nothing but answers is to be learned."""
    return lambda ids: in_answers(ids, tokenizer)


def in_answers(ids: Sequence[int], tokenizer: Tokenizer) -> list[bool]:
    """Whether each token of a document, and its end, belongs to the answer of a question."""
    found, line = [], b""
    for token in ids:
        piece = tokenizer.token_bytes(token)
        found.append(line.startswith(b"A:") and b"\n" not in piece)
        line = (line + piece).rsplit(b"\n", 1)[-1]
    return [*found, False]


def packed_conversations(
    world: WorldSettings,
    tokenizer: Tokenizer,
    context_length: int,
    n_conversations: int,
    *,
    replies_only: bool = True,
    unanswerable: float = 0.25,
    **settings,
) -> PackedDocuments:
    """Batches of a world's conversations.

    Args:
        world: of the stories and sums.
        tokenizer: with the marks of the chat template.
        context_length, n_conversations: of a batch.
        replies_only: whether only what the assistant says has targets.
        unanswerable: share of the questions about a story that nobody can answer.
        **settings: of `PackedDocuments`.
    """
    talks = Conversations(world, unanswerable=unanswerable)

    def conversation_ids(index: int) -> list[int]:
        return encode_conversation(tokenizer, talks.conversation(index).messages())

    def is_target(ids: Sequence[int]) -> list[bool]:
        # What follows a conversation is never learned: the mark <|end|> ends a reply.
        return in_replies(ids, tokenizer) if replies_only else [*([True] * len(ids)), False]

    start = tokenizer.special_tokens[START]
    return PackedDocuments(
        conversation_ids,
        start,
        context_length,
        n_conversations,
        is_target=is_target,
        **settings,
    )
