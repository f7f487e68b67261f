"""Exercises of chapter 11, instruction tuning."""

import numpy as np

from aigc_lab.exercises.declaring import Case, Mistake, exercise, question

# ------------------------------------------------------------------------------------ the template

MARKS = {"system": 900, "user": 901, "assistant": 902}


def _talks(draw):
    yield Case("one message", [("user", [5, 6])])
    yield Case("a system message", [("system", [9]), ("user", [5, 6])])
    yield Case("a reply before", [("user", [5]), ("assistant", [7, 8]), ("user", [6])])
    yield Case("an empty message", [("user", [])])
    long = [
        (("user", "assistant")[n % 2], draw.integers(0, 800, draw.integer(1, 6))) for n in range(5)
    ]
    yield Case("longer", [("system", draw.integers(0, 800, 3)), *long])


@exercise(
    title="A prompt for a reply",
    minutes=10,
    statement=r"""
    Make the row after which a model writes the assistant's next reply. `messages` holds pairs of
    role and token ids. The start token is 0; the marks are 900 for the system, 901 for the user and
    902 for the assistant; 903 ends every message. The last message is the user's.
    """,
    hints=["After the last message comes one more mark, and no end."],
    cases=_talks,
    mistakes=[
        Mistake("The row begins with the start token.", "[0]", "[]"),
        Mistake(
            "You did not give the word to the assistant: without its mark the model may go on as "
            "the user.",
            "return [*row, 902]",
            "return row",
        ),
        Mistake(
            "You ended the reply before it began.", "return [*row, 902]", "return [*row, 902, 903]"
        ),
        Mistake("Every message ends with 903.", "*ids, 903]", "*ids]"),
        Mistake(
            "A start token stands in front of every message; the model has seen one, at the "
            "beginning.",
            "[*row, marks[role]",
            "[*row, *([0] if len(row) > 1 else []), marks[role]",
        ),
    ],
)
def prompt_row(messages: list[tuple[str, list[int]]]) -> list[int]:
    """Token ids, the start token first."""
    marks = {"system": 900, "user": 901, "assistant": 902}
    row = [0]
    for role, ids in messages:
        row = [*row, marks[role], *ids, 903]
    return [*row, 902]


# ---------------------------------------------------------------------------------------- the mask


def _rows(draw):
    yield Case("one reply", [901, 5, 903, 902, 7, 8, 903])
    yield Case("two replies", [901, 5, 903, 902, 7, 903, 901, 6, 903, 902, 8, 903])
    yield Case("a system message", [900, 4, 4, 903, 901, 5, 903, 902, 7, 903])
    yield Case("no reply", [900, 4, 903, 901, 5, 6, 903])
    yield Case("an empty reply", [901, 5, 903, 902, 903])
    yield Case("a reply that was cut off", [901, 5, 903, 902, 7, 8])
    row = []
    for number in range(6):
        row += [901 + number % 2, *draw.integers(0, 800, draw.integer(1, 5)), 903]
    yield Case("longer", row)


@exercise(
    title="Which tokens are learned",
    minutes=5,
    statement=r"""
    Say for each token of a conversation whether it belongs to a reply: what stands between 902, the
    assistant's mark, and the next 903, and that 903 as well; the mark itself does not.
    """,
    hints=["Go through the row once and remember whether the assistant is speaking."],
    cases=_rows,
    pipeline="""
    import torch

    from aigc_lab.data.chat import make_chat_tokenizer
    from aigc_lab.data.tiny_world import WorldSettings
    from aigc_lab.models.shipped import load_shipped
    from aigc_lab.training.packing import packed_conversations

    tokenizer = make_chat_tokenizer(load_shipped("base")[1])
    number_of = {tokenizer.special_tokens[name]: number for name, number in [
        ("<|system|>", 900), ("<|user|>", 901), ("<|assistant|>", 902), ("<|end|>", 903)]}

    def with_your_mask(ids, tokenizer):
        return [*in_reply([number_of.get(i, i % 900) for i in ids]), False]

    source = packed_conversations(WorldSettings(), tokenizer, 320, 6)
    book = source.batch(0)
    with swap("aigc_lab.training.packing.in_replies", with_your_mask) as swapped:
        yours = source.batch(0)

    print(f"your function ran {swapped.calls} times; {yours.n_targets} tokens are learned")
    assert swapped.calls == 6
    assert torch.equal(book.targets, yours.targets)
    """,
    mistakes=[
        Mistake(
            "A model that does not learn the end of a reply never stops.",
            "found.append(speaking)",
            "found.append(speaking and token != 903)",
        ),
        Mistake(
            "The assistant's mark is not learned: the program writes it.",
            "found.append(speaking)",
            "found.append(speaking or token == 902)",
        ),
        Mistake(
            "You marked what the user says as well.",
            "if token == 902",
            "if token in (901, 902)",
        ),
        Mistake(
            "Only the first reply is marked: after an end the assistant may speak again.",
            "if token == 902",
            "if token == 902 and True not in found",
        ),
        Mistake(
            "Your values are one place too late: the first token after the mark belongs to the "
            "reply.",
            "return found",
            "return [False, *found[:-1]]",
        ),
    ],
)
def in_reply(row: list[int]) -> list[bool]:
    """One truth value for each token of the row."""
    found, speaking = [], False
    for token in row:
        found.append(speaking)
        if token == 902:
            speaking = True
        if token == 903:
            speaking = False
    return found


# --------------------------------------------------------------------------------------- the shift


def _masked_rows(draw):
    yield Case("two tokens", [5, 6], [False, True])
    yield Case("nothing learned", [5, 6, 7], [False, False, False])
    yield Case("all learned", [5, 6, 7, 8], [True, True, True, True])
    yield Case("a part", [5, 6, 7, 8, 9], [False, False, True, True, False])
    yield Case("the end", [5, 6, 7, 8], [False, False, False, True])
    n = draw.integer(6, 12)
    yield Case("longer", draw.integers(0, 800, n), [lot < 5 for lot in draw.integers(0, 10, n)])


@exercise(
    title="Targets, shifted with their mask",
    minutes=5,
    statement=r"""
    From a row of n token ids, and for each of them whether it is to be learned, make what the model
    reads and what it is asked for, n − 1 numbers each: at each place the token that comes next, or
    −100 if that one is not to be learned.
    """,
    hints=["The mask belongs to the token that is predicted, not to the one that is read."],
    cases=_masked_rows,
    returns=("reads: ", "targets: "),
    equivalent={
        "`zip(row[1:], learned[1:], strict=True)` → `zip(row[1:], learned[1:], strict=False)`": (
            "both are equally long"
        ),
    },
    mistakes=[
        Mistake(
            "You did not shift the mask with the targets: it says whether the token that is *read* "
            "is to be learned.",
            "zip(row[1:], learned[1:], strict=True)",
            "zip(row[1:], learned[:-1], strict=True)",
        ),
        Mistake(
            "You did not shift at all: the model is asked for the token that it reads.",
            "zip(row[1:], learned[1:], strict=True)",
            "zip(row[:-1], learned[:-1], strict=True)",
        ),
        Mistake(
            "What is not learned is −100, which the loss leaves out; 0 is a token.",
            "else -100",
            "else 0",
        ),
        Mistake(
            "The model reads all tokens but the last, learned or not.",
            "return row[:-1], targets",
            "return [t if m else -100 for t, m in zip(row[:-1], learned)], targets",
        ),
    ],
)
def shifted_targets(row: list[int], learned: list[bool]) -> tuple[list[int], list[int]]:
    """What is read and what is asked for, lists of n − 1 numbers."""
    targets = [token if flag else -100 for token, flag in zip(row[1:], learned[1:], strict=True)]
    return row[:-1], targets


# ---------------------------------------------------------------------------------------- the loss


def _losses(draw):
    yield Case("one row", draw.array(1, 3, 4), np.array([[1, -100, 2]]))
    yield Case(
        "rows of different lengths", draw.array(2, 3, 4), np.array([[1, 0, 2], [-100, -100, 3]])
    )
    yield Case("a silent row", draw.array(2, 2, 3), np.array([[0, 2], [-100, -100]]))
    targets = np.array(draw.integers(0, 5, 24)).reshape(3, 8)
    targets[np.array(draw.integers(0, 10, 24)).reshape(3, 8) < 4] = -100
    targets[0, 0] = 1
    yield Case("larger", draw.array(3, 8, 5, scale=3), targets)
    yield Case("large logits", 800 * np.eye(4)[None], np.array([[0, 1, -100, 2]]))


@exercise(
    title="The loss of a batch of conversations",
    minutes=15,
    statement=r"""
    Compute the mean cross-entropy in nats of the targets of a batch; −100 means that nothing is
    asked at a place. All targets of the batch count alike, so a row that has none adds nothing.
    Logits may be large. Compute in float64.
    """,
    hints=[
        "Subtract the largest logit of each place before `np.exp`.",
        "-100 is no index: put a 0 there first, and leave the place out afterwards.",
    ],
    cases=_losses,
    equivalent={
        "`np.where(is_asked, targets, 0)` → `np.where(is_asked, targets, 1)`": (
            "any token will do at places that are left out"
        ),
        "`np.where(is_asked, targets, 0)` → `np.where(is_asked, targets, -1)`": (
            "any token will do at places that are left out"
        ),
        "`np.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0]` → "
        "`np.take_along_axis(log_p, ids[..., None], axis=-1)[..., -1]`": (
            "the last axis has one number"
        ),
    },
    mistakes=[
        Mistake(
            "You took the mean of the rows' means: a row with few targets then counts as much as "
            "one with many, and a silent one gives NaN.",
            "return loss[is_asked].mean()",
            "return np.mean([row[flags].mean() for row, flags in zip(loss, is_asked)])",
        ),
        Mistake(
            "You divided by the number of places, not by that of the targets: the more is masked, "
            "the smaller your loss.",
            "return loss[is_asked].mean()",
            "return loss[is_asked].sum() / loss.size",
        ),
        Mistake(
            "Places that ask for nothing are in your mean.",
            "return loss[is_asked].mean()",
            "return loss.mean()",
        ),
        Mistake(
            "Your exponentials overflow: subtract each place's largest logit first.",
            "logits = logits - logits.max(axis=-1, keepdims=True)",
            "logits = logits",
        ),
        Mistake("The loss is minus the log-probability.", "loss = -", "loss = "),
    ],
)
def reply_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """Logits (B, T, V) and targets (B, T) to nats per target."""
    is_asked = targets != -100
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    ids = np.where(is_asked, targets, 0)
    loss = -np.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0]
    return loss[is_asked].mean()


# ------------------------------------------------------------------------------------- new tokens


def _tables(draw):
    yield Case("one more", draw.array(3, 2), 4)
    yield Case("none", draw.array(3, 2), 3)
    yield Case("four more", draw.array(6, 5), 10)
    yield Case("a table that is not centred", draw.array(5, 3) + 7, 8)


@exercise(
    title="Rows for new tokens",
    minutes=5,
    statement=r"""
    Let a table of token vectors grow to `n` rows: the old rows stay where they are, and each new
    one is the mean of the old. (The book adds a little noise, which you leave out.)
    """,
    hints=["`np.concatenate`, or `np.vstack`."],
    cases=_tables,
    returns="n C",
    mistakes=[
        Mistake(
            "You took the mean over the width; a new token is the mean of the old *tokens*.",
            "table.mean(axis=0)",
            "np.full(table.shape[1], table.mean())",
        ),
        Mistake(
            "A row of zeros has the logit 0 everywhere, which can be far above the others; the "
            "mean row has the mean of the old logits.",
            "table.mean(axis=0)",
            "np.zeros(table.shape[1])",
        ),
        Mistake(
            "The new rows come last; the ids of the old tokens must not move.",
            "[table, new]",
            "[new, table]",
        ),
    ],
)
def grown_table(table: np.ndarray, n: int) -> np.ndarray:
    """(V, C) to (n, C), n ≥ V."""
    new = np.tile(table.mean(axis=0), (n - len(table), 1))
    return np.concatenate([table, new])


# ------------------------------------------------------------------------------------ what is kept


def _long_talks(draw):
    user, bot = "user", "assistant"
    short = [("system", 5), (user, 4), (bot, 6), (user, 3)]
    yield Case("all fits", short, 30)
    yield Case("exactly", short, 18)
    yield Case("one turn too many", short, 17)
    yield Case("without a system message", [(user, 4), (bot, 6), (user, 3)], 12)
    long = [("system", 7)]
    for _ in range(4):
        long += [(user, draw.integer(2, 20)), (bot, draw.integer(2, 20))]
    long.append((user, 5))
    yield Case("many turns", long, 50)
    yield Case("hardly anything fits", long, 13)
    yield Case("the last message alone is too long", short, 2)


@exercise(
    title="What a conversation forgets",
    minutes=20,
    statement=r"""
    A conversation has become longer than the context. `messages` holds pairs of role and number of
    tokens; the last one is the user's. Leave out as many of the *oldest turns* as needed, no more,
    for the rest to have at most `room` tokens; a turn is a message of the user with the reply after
    it. The system message, which comes first if there is one, always stays, and so does the last
    message.
    """,
    hints=[
        "Split off the system message first.",
        "Then drop two messages at a time from the front.",
    ],
    cases=_long_talks,
    equivalent={
        "`len(rest) > 1` → `len(rest) > 2`": (
            "from the user to the user, the number of messages is odd: it is never 2"
        ),
    },
    pipeline="""
    from aigc_lab.data.chat import encode_prompt
    from aigc_lab.generation.chat import Chat
    from aigc_lab.generation.sampling import Sampling
    from aigc_lab.models.shipped import load_shipped

    model, tokenizer = load_shipped("chat")

    def shortened(chat, messages):
        n = [len(encode_prompt(tokenizer, [("user", text)])) - 2 for _, text in messages]
        room = model.config.context_length - chat.max_new_tokens - 2
        rows = [(role, k) for (role, _), k in zip(messages, n)]
        kept = kept_messages(rows, room)
        n_dropped = len(messages) - len(kept)
        first = messages[:1] if messages[0][0] == "system" else []
        return first + messages[len(first) + n_dropped :]

    def converse():
        chat = Chat(model, tokenizer, "Give short answers.", Sampling(temperature=0))
        for number in range(14):
            "".join(chat.say(f"What is {number} + 17? And who is the king of Spain?"))
        return chat

    book = converse()
    with swap("aigc_lab.generation.chat.Chat._shortened", shortened) as swapped:
        yours = converse()

    print(f"your function ran {swapped.calls} times; {yours.n_forgotten} messages are forgotten")
    assert swapped.calls == 14
    assert yours.messages == book.messages
    assert yours.n_forgotten == book.n_forgotten > 0
    """,
    mistakes=[
        Mistake(
            "You forgot the system message: the assistant no longer knows how to behave.",
            "return system + rest",
            "return rest",
        ),
        Mistake(
            "After your cut a reply comes first, without what it replies to.",
            "rest = rest[2:]",
            "rest = rest[1:]",
        ),
        Mistake(
            "The system message takes room, too.",
            "n_system = sum(n for _, n in system)",
            "n_system = 0",
        ),
        Mistake(
            "You left out the newest turns; what was said last is needed most.",
            "rest = rest[2:]",
            "rest = rest[:-3] + rest[-1:]",
        ),
        Mistake(
            "The last message went as well: there is nothing left to reply to.",
            "and len(rest) > 1",
            "and rest",
        ),
    ],
)
def kept_messages(messages: list[tuple[str, int]], room: int) -> list[tuple[str, int]]:
    """The messages that stay, in their order."""
    system = messages[:1] if messages[0][0] == "system" else []
    rest = messages[len(system) :]
    n_system = sum(n for _, n in system)
    while n_system + sum(n for _, n in rest) > room and len(rest) > 1:
        rest = rest[2:]
    return system + rest


# ---------------------------------------------------------------------------------- the whole batch


def _conversations(draw):
    def talk(*lengths):
        return [
            (("user", "assistant")[n % 2], draw.integers(1, 800, length))
            for n, length in enumerate(lengths)
        ]

    yield Case("one conversation", [talk(2, 3)], 12)
    yield Case("two side by side", [talk(1, 2), talk(2, 1)], 18)
    yield Case("two rows", [talk(3, 3), talk(2, 4)], 14)
    yield Case("a full row", [talk(2, 3), talk(1, 2)], 16)
    yield Case("one place too few", [talk(2, 3), talk(1, 2)], 15)
    yield Case("without a reply", [talk(3), talk(2, 2)], 17)
    lengths = [[draw.integer(1, 5) for _ in range(draw.integer(1, 5))] for _ in range(7)]
    yield Case("seven", [talk(*some) for some in lengths], 44)


@exercise(
    title="A batch of conversations from nothing",
    minutes=75,
    statement=r"""
    Write the whole way from conversations to a batch. A conversation holds pairs of role and ids;
    as a row it is 0, then for each message its mark (901 user, 902 assistant), its ids, and 903. Of
    its n ids the first n − 1 are read; at each place the target is the id that comes next if that
    belongs to a reply (its ids and its 903), else −100.

    Put the conversations into rows of `length` places in the order in which they come: each into
    the current row if it fits, else into a new one. Return three arrays $(B, T)$ of int64: the
    tokens, the targets, and for each place the number of its conversation in its row, from 0.
    Places that are left over at the end of a row have token 0, target −100, and the next number.
    """,
    hints=[
        "First a function of your own that makes tokens and targets of one conversation.",
        "Keep lists of rows, and fill them up at the end.",
        "The number of a conversation in its row is one more than that of the one before.",
    ],
    cases=_conversations,
    returns=("tokens: B T", "targets: B T", "documents: B T"),
    equivalent={
        "`row[-1]` → `row[-2]`": "the last two places of a conversation have the same number",
        "`rows[-1][-1]` → `rows[-1][-2]`": (
            "the last two places of a conversation have the same number"
        ),
        "`zip(ids[1:], learned, strict=True)` → `zip(ids[1:], learned, strict=False)`": (
            "both are equally long"
        ),
        "`zip(ids[:-1], targets, strict=True)` → `zip(ids[:-1], targets, strict=False)`": (
            "both are equally long"
        ),
    },
    mistakes=[
        Mistake(
            "The first word of a reply is asked for at the place that reads the assistant's mark; "
            "you shifted the mask by one place.",
            'learned += [False] + [role == "assistant"] * (len(part) + 1)',
            'learned += [role == "assistant"] * (len(part) + 1) + [False]',
        ),
        Mistake(
            "You learn what the user says.",
            '[role == "assistant"] * (len(part) + 1)',
            "[True] * (len(part) + 1)",
        ),
        Mistake(
            "The end of a reply is learned, too.",
            '[role == "assistant"] * (len(part) + 1)',
            '[role == "assistant"] * len(part) + [False]',
        ),
        Mistake(
            "Conversations of a row have the same number: they see one another.",
            "(*pair, number)",
            "(*pair, 0)",
        ),
        Mistake(
            "A conversation that just fits must not begin a new row.",
            "> length",
            ">= length",
        ),
        Mistake(
            "What is left over has the number of the last conversation; then it can be seen from "
            "there, and its positions go on.",
            "row[-1][2] + 1)] * (",
            "row[-1][2])] * (",
        ),
    ],
)
def chat_batch(
    conversations: list[list[tuple[str, list[int]]]], length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, targets and conversation numbers, `(B, T)` with T = length."""
    rows = []
    for conversation in conversations:
        ids, learned = [0], []
        for role, part in conversation:
            ids += [{"user": 901, "assistant": 902}[role], *part, 903]
            learned += [False] + [role == "assistant"] * (len(part) + 1)
        targets = [i if flag else -100 for i, flag in zip(ids[1:], learned, strict=True)]
        if not rows or len(rows[-1]) + len(targets) > length:
            rows.append([])
        number = rows[-1][-1][2] + 1 if rows[-1] else 0
        rows[-1] += [(*pair, number) for pair in zip(ids[:-1], targets, strict=True)]
    for row in rows:
        row += [(0, -100, row[-1][2] + 1)] * (length - len(row))
    tokens, targets, numbers = np.moveaxis(np.array(rows), -1, 0)
    return tokens, targets, numbers


# --------------------------------------------------------------------------------------- questions

forbidden_words = question(
    "forbidden_words",
    title="A list of forbidden words",
    minutes=10,
    statement=r"""
    A program builds its prompts as one string and encodes it with special tokens recognised. To be
    safe from forged marks it first removes `<|end|>`, `<|system|>`, `<|user|>` and `<|assistant|>`
    from what users type. Why is this not enough, and what does it cost users who mean no harm?
    """,
    answer=r"""
    Removing can *make* what is forbidden: from `<|e<|end|>nd|>` the inner mark is cut out, and what
    is left is `<|end|>`. One has to repeat until nothing changes. The list has to be kept complete
    for every tokenizer that the program is used with, and special tokens that nobody thinks of
    (`<|endoftext|>`, marks for tools) are forgotten first. Normalisation that comes later, such as
    of full-width characters or escapes, can bring a mark back.

    And somebody who asks "What does <|end|> mean in a chat template?" gets an answer to another
    question, for the text was changed without a word.

    If text is encoded without special tokens and marks are put in by number, there is nothing to
    filter: no string becomes a mark, and every string arrives as it was typed.
    """,
)

learn_the_question = question(
    "learn_the_question",
    title="Why not learn the questions, too?",
    minutes=10,
    statement=r"""
    The user's words are text like any other. A colleague proposes to learn them as well: twice as
    many targets from the same data. What could speak for it, and what against? What does the
    chapter's comparison say, and for which data would you expect another result?
    """,
    answer=r"""
    For it: the words of the user are about the same world, so predicting them may teach something,
    as pretraining does, when there is little data and long, varied prompts.

    Against: the model has a limited capacity and a limited number of steps, and part of both goes
    into imitating users: what they will ask next, and how. That is never needed. Where prompts are
    much longer than replies, most of the gradient comes from them. And the marks are learned as
    well, so the model also learns to write `<|user|>` and to speak for the user, which only a
    program that stops at `<|end|>` hides.

    The chapter measures both ways at the same number of steps with three seeds; look at the gap and
    at its spread. Where prompts are short and few kinds, as greetings are, the two ways differ
    little; where the user's part is long and random, as a new story is, predicting it is hard,
    gives large losses, and teaches nothing about answering.
    """,
)
