"""Exercises of chapter 02, tokens."""

import re
import unicodedata
from collections import Counter
from itertools import pairwise

from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.exercises.declaring import Case, Mistake, exercise, question


def _random_text(draw, characters, length):
    return "".join(characters[place] for place in draw.integers(0, len(characters), length))


# ------------------------------------------------------------------------------------------ digits


def _numbers(draw):
    yield Case("one digit", _random_text(draw, "123456789", 1))
    yield Case("three digits", _random_text(draw, "123456789", 3))
    yield Case("four digits", _random_text(draw, "123456789", 4))
    yield Case("zeros in the middle", "00".join(_random_text(draw, "123456789", 2)))
    yield Case("zeros in front", "00" + _random_text(draw, "123456789", 3))
    yield Case("six digits", _random_text(draw, "123456789", 6))
    yield Case("eight digits", _random_text(draw, "123456789", 8))
    yield Case("a long number", _random_text(draw, "0123456789", draw.integer(20, 30)))


def _groups_by_arithmetic(number):
    rest, groups = int(number), []
    while rest > 0:
        rest, group = divmod(rest, 1000)
        groups.insert(0, str(group))
    return groups


@exercise(
    title="Digits in threes",
    minutes=5,
    statement=r"""
    Some tokenizers cut numbers into groups of three digits. Counted from the left, `1234567`
    becomes `123 456 7`, and the place of a group does not tell whether it counts ones, thousands or
    millions. Count from the right instead: `"1234567"` gives `["1", "234", "567"]`, so that the
    last group is always the ones, the one before it the thousands. `number` is a string of digits,
    at least one, perhaps with zeros in front.
    """,
    hints=[
        "Only the *first* group may be shorter. How long is it, for 7 digits, for 8 and for 9?",
        "The first group has `len(number) % 3` digits, except where that is 0. Everything behind "
        "it is cut every three digits, as from the left.",
    ],
    cases=_numbers,
    mistakes=[
        Mistake(
            "You counted from the left: the short group must be the first, not the last.",
            "len(number) % 3 or 3",
            "3",
        ),
        Mistake(
            "Where the length divides by 3 you give an empty first group.",
            "len(number) % 3 or 3",
            "len(number) % 3",
        ),
        Mistake(
            "You dropped the digits that do not fill a group of three; they are the first group.",
            "len(number) % 3 or 3",
            "len(number) % 3",
            "number[:first], *(number[i : i + 3] for i in starts)",
            "number[i : i + 3] for i in starts",
        ),
        Mistake(
            "Your groups are right, but in the wrong order: the ones must come last.",
            "for i in starts)]",
            "for i in starts)][::-1]",
        ),
        Mistake(
            "You turned the number round to count from its end, but did not turn the digits "
            "inside each group back.",
            "    first =",
            "    number = number[::-1]\n    first =",
            "len(number) % 3 or 3",
            "3",
            "for i in starts)]",
            "for i in starts)][::-1]",
        ),
        Mistake(
            "You made a number of the string (as the format `:,` needs it): that loses zeros in "
            "front, and a tokenizer must not lose anything.",
            "    first =",
            "    number = str(int(number))\n    first =",
        ),
        Mistake(
            "You made numbers of the groups, as `% 1000` does: that loses the zeros in front of "
            "each, and `005` becomes `5`.",
            _groups_by_arithmetic,
        ),
        Mistake(
            "You filled the first group up with zeros that the number does not have; it may be "
            "shorter than three digits.",
            "    first =",
            '    number = "0" * (-len(number) % 3) + number\n    first =',
        ),
    ],
)
def digit_groups(number: str) -> list[str]:
    """Groups of three digits from the right; only the first may be shorter."""
    first = len(number) % 3 or 3
    starts = range(first, len(number), 3)  # of the other groups
    return [number[:first], *(number[i : i + 3] for i in starts)]


# ------------------------------------------------------------------------------------- compression


def _corpora(draw):
    from aigc_lab.data.bpe_training import train_bpe

    single_bytes = Tokenizer()
    english = train_bpe("the theory of the other weather, then and there " * 3, 272)
    words = ["the", "other", "weather", "é", "中文", "🐊"]

    def text(n):
        return " ".join(words[i] for i in draw.integers(0, len(words), n))

    yield Case("one letter", single_bytes, ["a"])
    yield Case("one letter of two bytes", single_bytes, ["é"])
    yield Case("one word", english, ["the"])
    yield Case("a word and a letter", english, ["the", "é"])
    yield Case("the parts of a word", english, ["th", "e"])
    yield Case("an empty text", english, ["", "the"])
    yield Case("white space at the ends", english, [" the\n"])
    yield Case("a capital and a fraction", english, ["The ½"])
    yield Case("one text twice", english, ["the", "the", "é"])
    yield Case("the same text twice", english, ["other weather", "other weather"])
    yield Case("a short and a long text", english, [text(1), text(draw.integer(20, 30))])


@exercise(
    title="Compression of a whole corpus",
    minutes=5,
    statement=r"""
    How well does a tokenizer compress a corpus of several texts? Divide the number of UTF-8 bytes
    of all texts together by the number of tokens of all texts together. Each text is encoded on its
    own and as it is, with `tokenizer.encode(text)`. Some of the texts may be empty, but never all
    of them.
    """,
    hints=[
        "`len(text)` counts code points. What do you measure the length of to count bytes?",
        "Add up the bytes of all texts, add up their tokens, and divide once, at the end.",
    ],
    cases=_corpora,
    mistakes=[
        Mistake(
            "You counted characters: é is one character of two bytes, 中 one of three. "
            "`text.encode()` gives the bytes.",
            "len(text.encode())",
            "len(text)",
        ),
        Mistake(
            "You averaged the ratios of the texts: a text of one word then counts as much as a "
            "book. Add up first, then divide.",
            "    n_bytes =",
            "    return sum(len(t.encode()) / len(tokenizer.encode(t)) for t in texts) / len(texts)"
            "\n    n_bytes =",
        ),
        Mistake(
            "You give tokens per byte; bytes per token is the inverse, 1 or more.",
            "n_bytes / n_tokens",
            "n_tokens / n_bytes",
        ),
        Mistake(
            "You counted how many different tokens there are; each one counts as often as it "
            "occurs.",
            "sum(len(tokenizer.encode(text)) for text in texts)",
            "len({token for text in texts for token in tokenizer.encode(text)})",
        ),
        Mistake(
            "You joined the texts before encoding: a token may then reach from the end of one "
            "text into the next.",
            "sum(len(tokenizer.encode(text)) for text in texts)",
            'len(tokenizer.encode("".join(texts)))',
        ),
        Mistake(
            "You counted equal texts once; a text counts as often as it stands in the list.",
            "    n_bytes =",
            "    texts = set(texts)\n    n_bytes =",
        ),
        Mistake(
            "You joined the texts with spaces, which are bytes, and make tokens, that the corpus "
            "does not have.",
            "    n_bytes =",
            '    texts = [" ".join(texts)]\n    n_bytes =',
        ),
        Mistake(
            "You joined the texts with line ends, which are bytes and tokens that the corpus does "
            "not have.",
            "    n_bytes =",
            '    texts = ["\\n".join(texts)]\n    n_bytes =',
        ),
    ],
)
def corpus_bytes_per_token(tokenizer: Tokenizer, texts: list[str]) -> float:
    """UTF-8 bytes of all texts divided by the tokens of all texts."""
    n_bytes = sum(len(text.encode()) for text in texts)
    n_tokens = sum(len(tokenizer.encode(text)) for text in texts)
    return n_bytes / n_tokens


smaller_alphabet = question(
    "smaller_alphabet",
    title="A smaller alphabet",
    minutes=5,
    has_one_answer=True,
    statement=r"""
    Out of how many pairs is the first merge of byte-level BPE chosen, at most? Why does it start
    from 256 symbols even when the training text is plain English, in which most bytes never occur?
    """,
    answer=r"""
    There are at most $256^2 = 65{,}536$ pairs of bytes. Starting from all 256 bytes costs
    fewer than 256 unused rows in the embedding, and guarantees that *any* later input (another
    language, an emoji, a broken file) can be encoded. Starting from the bytes of the training text
    brings the "unknown" entry back.
    """,
)


# ---------------------------------------------------------------------------------------- cleaning

_CLEANING = {
    "NFC": lambda text: unicodedata.normalize("NFC", text),
    "NFKC": lambda text: unicodedata.normalize("NFKC", text),
    "one space": lambda text: re.sub(r"\s+", " ", text),
    "lower case": str.lower,
    "letters only": lambda text: re.sub(r"[^a-z ]", "", text.lower()),
}


def _texts_to_clean(draw):
    words = ["née", "Café", "US", "us", "Polish", "x2", "2.5", "décor", "in", "May"]
    for step in _CLEANING:
        yield Case("a short text", "Aéb 2", step)
        yield Case("some words", "é 2 " + " ".join(draw.rng.permutation(words)[:6]) + " Ab", step)


def _not_undone(other, text, step):
    if other == text:
        return "It gives back `text` itself; a different text is asked for."
    for name, clean in _CLEANING.items():
        are_equal = clean(other) == clean(text)
        if name == step and are_equal:
            return None
        if name == step:
            return (
                f'The two stay different: "{step}" makes {clean(other)!a} of yours and '
                f"{clean(text)!a} of `text` (shown with escapes for what is not ASCII)."
            )
        if are_equal:
            return (
                f'"{name}", which stands above "{step}" in the table, makes the two equal already. '
                f'Find something that only steps from "{step}" on lose.'
            )
    return None


@exercise(
    title="Undo the cleaning",
    minutes=10,
    statement=r"""
    What does a cleaning step lose? Given a `text` and the name of a `step`, return a *different*
    text which this step turns into the same string as `text`. Find what is the step's own: no step
    above it in the table may make the two equal.

    | `step` | what it does |
    |---|---|
    | `"NFC"` | `unicodedata.normalize("NFC", text)` |
    | `"NFKC"` | `unicodedata.normalize("NFKC", text)` |
    | `"one space"` | `re.sub(r"\s+", " ", text)` |
    | `"lower case"` | `text.lower()` |
    | `"letters only"` | `re.sub(r"[^a-z ]", "", text.lower())` |

    Every `text` holds an `é` (as one code point, U+00E9), a `2`, a space, at least one capital from
    A to Z and at least one small letter from a to z. There are many right answers, and each of them
    passes.
    """,
    hints=[
        "Five steps, five answers: an `if` for each. `text.replace(old, new)` is enough for most "
        "of them.",
        "The chapter shows two ways to write é, and what NFKC makes of x² and ﬁ.",
        "`\\s` matches any white space, not only the space. And what does the last step do with "
        "a character that is no letter, wherever it stands?",
    ],
    cases=_texts_to_clean,
    verify=_not_undone,
    mistakes=[
        Mistake(
            "For NFC you return `text` as it is: its é is one code point already. The chapter "
            "shows another way to write é.",
            r'text.replace("é", "e\u0301")',
            'unicodedata.normalize("NFC", text)',
        ),
        Mistake(
            "For NFKC you took é apart: NFC joins it already. NFKC's own losses are variants of "
            "a character, such as ² for 2.",
            'text.replace("2", "²")',
            'unicodedata.normalize("NFD", text)',
        ),
        Mistake(
            "For `one space` you added a space at the end: the step shortens runs of white space, "
            "but does not remove any.",
            r'text.replace(" ", "\n")',
            'text + " "',
        ),
        Mistake(
            "For `one space` you took the no-break space: NFKC makes a plain space of it already.",
            r'text.replace(" ", "\n")',
            r'text.replace(" ", "\u00a0")',
        ),
        Mistake(
            "For `letters only` you changed capitals: `lower case` loses them already. Change "
            "what is no letter.",
            'text + "!"',
            "text.swapcase()",
        ),
        Mistake(
            "For `letters only` you removed the spaces, but the step keeps them: a space stands in "
            "`[^a-z ]`, beside the letters.",
            'text + "!"',
            'text.replace(" ", "")',
        ),
    ],
)
def same_when_cleaned(text: str, step: str) -> str:
    """Another text that becomes the same string as `text`, by `step`.

    No step above it in the table makes the two equal.
    """
    others = {
        "NFC": text.replace("é", "e\u0301"),
        "NFKC": text.replace("2", "²"),
        "one space": text.replace(" ", "\n"),
        "lower case": text.swapcase(),
        "letters only": text + "!",
    }
    return others[step]


cleaning_for_search = question(
    "cleaning_for_search",
    title="Cleaning for a search engine",
    minutes=10,
    statement=r"""
    Which of the five cleaning steps (NFC, NFKC, one space, lower case, letters only) would you let
    a *search engine* use? Why does the answer differ from the one for a language model?
    """,
    answer=r"""
    A search engine compares the user's words with the words in a page and never has to write them
    back. There it helps if "É" finds "é", so all but the last step are in common use, on *both*
    sides, with the original kept for display. A language model has to produce text, and what it
    cannot see it cannot produce.
    """,
)

order_matters = question(
    "order_matters",
    title="Order matters",
    minutes=10,
    has_one_answer=True,
    statement=r"""
    In the chapter's notebook, encode `" lower"` with `hand_merges`, then with the same merges in
    reverse order (each keeps its id). Do you get the same tokens? Explain with the smallest example
    that you can find why the order of the merges is part of the tokenizer.
    """,
    answer=r"""
    No: forward they give `[260, 114]`, that is " lowe" and "r"; in reverse
    `[32, 256, 119, 101, 114]`, because "lo" is the only merge that finds its parts when its turn
    comes. (`Tokenizer` refuses such a list, in which a merge names a token that does not exist
    yet.) The smallest example needs no merge of merges: `(a, b)` and `(b, c)` both want the b of
    `abc`. With `(a, b)` first the result is `ab`, `c`; with `(b, c)` first it is `a`, `bc`. Both
    orders are tokenizers, and they encode the same text differently. That is why a tokenizer file
    stores an ordered list.
    """,
)


# ------------------------------------------------------------------------------------------- UTF-8

# The first and the last code point of each length.
_LIMITS = (0x0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF)


def _texts_of_all_lengths(draw):
    def character(n_bytes):
        first, last = _LIMITS[2 * n_bytes - 2 : 2 * n_bytes]
        code = draw.integer(first, last + 1)
        return chr(code) if not 0xD800 <= code <= 0xDFFF else "中"  # surrogates are no characters

    yield Case("no text", "")
    for code in _LIMITS:
        yield Case(f"U+{code:04X}", chr(code))
    for n_bytes in (1, 2, 3, 4):
        yield Case("one character", character(n_bytes))
    for n_characters in (2, 3, 4, 6, 8, 8, 10, 10, 12, 12, 14, 14, 16, 16, 18, 20):
        lengths = draw.integers(1, 5, n_characters)
        yield Case("a mixed text", "".join(character(n_bytes) for n_bytes in lengths))


@exercise(
    title="UTF-8 by hand",
    minutes=20,
    statement=r"""
    Write what `text.encode()` does, without it. `ord` gives the code point of a character. Its
    bits, highest first, fill the x in one of four forms, the first that has room:

    | code points | their bytes |
    |---|---|
    | up to 0x7F | `0xxxxxxx` |
    | up to 0x7FF | `110xxxxx 10xxxxxx` |
    | up to 0xFFFF | `1110xxxx 10xxxxxx 10xxxxxx` |
    | up to 0x10FFFF | `11110xxx 10xxxxxx 10xxxxxx 10xxxxxx` |

    An example: é is 0xE9, in eleven bits `00011 101001`, so its bytes are `11000011 10101001`, that
    is 0xC3 0xA9. Surrogates (0xD800 to 0xDFFF) do not occur.
    """,
    hints=[
        "Start with one `if` for each form. `bytes([65, 66])` makes bytes of numbers.",
        "`code >> 6` drops the lowest six bits, `code & 0x3F` keeps only them.",
        "`0x80 | bits` writes the mark 10 in front of six bits; `0xC0 | bits` writes 110 in front "
        "of five.",
    ],
    cases=_texts_of_all_lengths,
    mistakes=[
        Mistake(
            "You wrote each code point as one byte, but a byte holds at most 255.",
            lambda text: bytes(map(ord, text)),
        ),
        Mistake(
            "Your later bytes lack their mark: each of them begins with the bits 10.",
            "0x80 | code >> shift & 0x3F",
            "code >> shift & 0x3F",
        ),
        Mistake(
            "You did not cut out six bits for each of the later bytes: what stands above them "
            "gets into the mark, or does not fit into a byte at all.",
            "code >> shift & 0x3F",
            "code >> shift",
        ),
        Mistake(
            "You sent the lowest bits first; the highest come first.",
            "*low[1:]",
            "*low[:0:-1]",
            "*low]",
            "*low[::-1]]",
        ),
        Mistake(
            "You wrote code points up to 0xFF as one byte. That is Latin-1; in UTF-8 a single byte "
            "has room for seven bits.",
            "code < 0x80:",
            "code < 0x100:",
        ),
        Mistake(
            "Your limits are one too high: 0x80, 0x800 and 0x10000 need one byte more.",
            "code < 0x80:",
            "code <= 0x80:",
            "code < 0x800:",
            "code <= 0x800:",
            "code < 0x10000:",
            "code <= 0x10000:",
        ),
        Mistake(
            "Your limits are one too low: 0x7F, 0x7FF and 0xFFFF still fit into the shorter form.",
            "code < 0x80:",
            "code < 0x7F:",
            "code < 0x800:",
            "code < 0x7FF:",
            "code < 0x10000:",
            "code < 0xFFFF:",
        ),
        Mistake(
            "Your first byte always has the mark 110; its mark must have as many ones as there are "
            "bytes.",
            "0xE0",
            "0xC0",
            "0xF0",
            "0xC0",
        ),
        Mistake(
            "You stop at three bytes; code points above 0xFFFF, emoji among them, need four.",
            "elif code < 0x10000:",
            "elif True:",
        ),
    ],
)
def utf8_bytes(text: str) -> bytes:
    """The UTF-8 bytes of a text, from the code point of each character."""
    data = []
    for character in text:
        code = ord(character)
        # The lowest 18 bits in three bytes 10xxxxxx.
        low = [0x80 | code >> shift & 0x3F for shift in (12, 6, 0)]
        if code < 0x80:
            data += [code]
        elif code < 0x800:
            data += [0xC0 | code >> 6, low[2]]
        elif code < 0x10000:
            data += [0xE0 | code >> 12, *low[1:]]
        else:
            data += [0xF0 | code >> 18, *low]
    return bytes(data)


# --------------------------------------------------------------------------------------- streaming


def _streams(draw):
    def cut(data):
        ends = sorted({*draw.integers(1, len(data), len(data) // 3), len(data)})
        return [data[start:end] for start, end in pairwise([0, *ends])]

    yield Case("nothing", [])
    yield Case("one letter", [b"a"])
    yield Case("stops in an é", [b"a\xc3"])
    yield Case("é in two parts", [b"\xc3", b"\xa9"])
    yield Case("a letter and half of another", [b"a", b"b\xc3", b"\xa9"])
    yield Case("stops in an emoji", ["🐊".encode()[:3]])
    yield Case("stops in an emoji, late", ["🐊".encode()[:1], "🐊".encode()[1:3]])
    yield Case("a character ends, the next begins", ["中文".encode()[:4], "中文".encode()[4:]])
    yield Case("a real �", [b"a\xef\xbf\xbd", b"b"])
    yield Case("U+FEFF in front", ["\ufeffa".encode()])
    yield Case("byte by byte", [bytes([byte]) for byte in "é中🐊".encode()])
    data = _random_text(draw, "ab é中文🐊", draw.integer(12, 20)).encode()
    yield Case("a long text", cut(data))
    yield Case("a long text that stops in the middle", cut(data + "🐊".encode()[:2]))


def _replaced_at_once(chunks):
    shown, held = [], b""
    for chunk in chunks:
        held += chunk
        text = held.decode(errors="ignore")
        held = held[len(text.encode()) :]
        shown.append(text + "\ufffd" * bool(held))
    return shown


def _without_real_replacement_characters(chunks):
    shown, data, n_shown, text = [], b"", 0, ""
    for chunk in chunks:
        data += chunk
        text = data.decode(errors="replace").rstrip("\ufffd")
        shown.append(text[n_shown:])
        n_shown = len(text)
    if data.decode(errors="replace") != text:
        shown[-1] += "\ufffd"
    return shown


@exercise(
    title="Text as it arrives",
    minutes=20,
    statement=r"""
    A chat program gets a reply token by token. `chunks` is the list of the tokens' bytes; together
    they are valid UTF-8, except that the reply may stop in the middle of a character. Return, for
    each token, the text that it *adds* to the screen: every character as soon as its last byte is
    there, and not a byte earlier. If the reply stops inside a character, put one `"\ufffd"` (the
    replacement character �) at the end of the last entry. An empty reply, `chunks == []`, gives
    `[]`.

    For example `[b"a\xc3", b"\xa9b", b"\xe4\xb8"]` gives `["a", "éb", "�"]`.
    """,
    hints=[
        "Keep the bytes that you could not show yet, and put each new chunk behind them.",
        "You need the longest beginning of these bytes that is whole characters. At most three "
        "bytes are left over, so you could try to decode all of them, all but the last, and so on.",
        'Or: since only the end can be broken, `held.decode(errors="ignore")` drops exactly the '
        "unfinished character. How many bytes did the rest take?",
    ],
    cases=_streams,
    mistakes=[
        Mistake(
            "You decode each token on its own: a character in two tokens turns into several �, and "
            "they stay on the screen.",
            lambda chunks: [chunk.decode(errors="replace") for chunk in chunks],
        ),
        Mistake(
            "After each token you decode the whole reply so far: what has been shown comes again, "
            "and unfinished characters show as �.",
            lambda chunks: [
                b"".join(chunks[: number + 1]).decode(errors="replace")
                for number in range(len(chunks))
            ],
        ),
        Mistake(
            "You decode each token on its own and ignore what is broken: a character in two tokens "
            "is lost.",
            lambda chunks: [chunk.decode(errors="ignore") for chunk in chunks],
        ),
        Mistake(
            "You show everything at the very end; the user has been looking at an empty screen.",
            lambda chunks: [
                *("" for _ in chunks[1:]),
                *(b"".join(chunks).decode(errors="replace") for _ in chunks[:1]),
            ],
        ),
        Mistake(
            "You hold back too much: the whole characters in front of an unfinished one can be "
            "shown at once.",
            "        shown.append",
            '        text = text if text.encode() == held else ""\n        shown.append',
            r'+= "\ufffd"',
            '+= held.decode(errors="replace")',
        ),
        Mistake(
            "You forget what is still held back after the last token: show one � for it.",
            "if held:",
            "if False:",
        ),
        Mistake(
            "You give one � for each byte that is left; it is one for the unfinished character.",
            r'"\ufffd"',
            r'"\ufffd" * len(held)',
        ),
        Mistake(
            "You give all text so far each time; only what the token adds is asked for.",
            "shown.append(text)",
            'shown.append("".join(shown[-1:]) + text)',
        ),
        Mistake(
            "You show � for a character that may still be finished. Show it only once, after the "
            "last token.",
            _replaced_at_once,
        ),
        Mistake(
            "You put � in place of the last entry, and what the last token finished is lost: add "
            "it behind.",
            r'+= "\ufffd"',
            r'= "\ufffd"',
        ),
        Mistake(
            "You take every � for an unfinished character; it is a character like any other, and "
            "the reply may hold one.",
            _without_real_replacement_characters,
        ),
        Mistake(
            "You put the last � into an entry of its own; there is one entry for each token.",
            r'shown[-1] += "\ufffd"',
            r'shown.append("\ufffd")',
        ),
    ],
)
def stream_text(chunks: list[bytes]) -> list[str]:
    """The text that each chunk adds; unfinished characters are held back."""
    shown, held = [], b""
    for chunk in chunks:
        held += chunk
        # All but an unfinished character, which can only be at the end.
        text = held.decode(errors="ignore")
        shown.append(text)
        held = held[len(text.encode()) :]
    if held:
        shown[-1] += "\ufffd"
    return shown


# ---------------------------------------------------------------------------------------- encoding


def _pieces_and_merges(draw):
    from aigc_lab.data.bpe_training import learn_merges

    def numbered(*pairs):
        return {pair: 256 + number for number, pair in enumerate(pairs)}

    a, b, c, d = b"abcd"
    first, second = "é".encode()
    yield Case("no bytes", b"", numbered((a, b)))
    yield Case("one byte", b"a", numbered((a, b)))
    yield Case("no merges", b"abc", {})
    yield Case("two merges want the b", b"abc", numbered((b, c), (a, b)))
    yield Case("three equal bytes", b"aaa", numbered((a, a), (256, 256)))
    yield Case("a letter of two bytes", "éé".encode(), numbered((first, second)))
    yield Case("bytes that are no text", b"\xff\xc3", numbered((first, second)))
    yield Case("merges want the same bytes", b"abcd", numbered((a, b), (256, c), (c, d)))
    yield Case("a merge of merges", b"aabcc", numbered((a, b), (256, c), (a, 257)))
    yield Case("the rarer pair was learned first", b"abcbc", numbered((a, b), (b, c)))
    yield Case("one merge, twice", b"abcab", numbered((a, b)))
    merges = numbered((b, c), (a, b), (257, c))
    yield Case("a long token that is out of reach", b"abc", merges)
    for n_merges in (4, 6, 8, 12, 20):
        letters = "abcd"[: draw.integer(2, 5)]
        counts = Counter(_random_text(draw, letters, 30) for _ in range(3))
        merges = numbered(*learn_merges(counts, n_merges))
        piece = _random_text(draw, letters, draw.integer(10, 30)).encode()
        yield Case("learned merges", piece, merges)


def _longest_first(piece, merges):
    spelling = {byte: bytes([byte]) for byte in range(256)}
    for (left, right), new in merges.items():
        spelling[new] = spelling[left] + spelling[right]
    id_of = {token: number for number, token in spelling.items()}
    tokens, start = [], 0
    while start < len(piece):
        ends = range(len(piece), start, -1)
        end = next(end for end in ends if piece[start:end] in id_of)
        tokens.append(id_of[piece[start:end]])
        start = end
    return tokens


def _joined(tokens, pair, new):
    joined = []
    for token in tokens:
        if joined and (joined[-1], token) == pair:
            joined[-1] = new
        else:
            joined.append(token)
    return joined


def _from_last_to_first(piece, merges):
    tokens = list(piece)
    for pair, new in reversed(merges.items()):
        tokens = _joined(tokens, pair, new)
    return tokens


def _without_a_second_look(piece, merges):
    tokens = list(piece)
    known = {merges[pair]: pair for pair in pairwise(tokens) if pair in merges}
    for new in sorted(known):
        tokens = _joined(tokens, known[new], new)
    return tokens


def _one_join_for_each_merge(piece, merges):
    tokens = list(piece)
    for pair, new in merges.items():
        places = [place for place, found in enumerate(pairwise(tokens)) if found == pair]
        for place in places[:1]:
            tokens[place : place + 2] = [new]
    return tokens


def _one_pass_from_the_left(piece, merges):
    tokens = []
    for byte in piece:
        tokens.append(byte)
        pair = tuple(tokens[-2:])
        if pair in merges:
            tokens[-2:] = [merges[pair]]
    return tokens


def _most_frequent_first(piece, merges):
    tokens = list(piece)
    while pairs := Counter(pair for pair in pairwise(tokens) if pair in merges):
        pair = min(pairs, key=lambda pair: (-pairs[pair], merges[pair]))
        place = list(pairwise(tokens)).index(pair)
        tokens[place : place + 2] = [merges[pair]]
    return tokens


@exercise(
    title="Which pair goes first?",
    minutes=30,
    statement=r"""
    To encode a word, the chapter's `encode_by_hand` replays every merge. A real vocabulary has tens
    of thousands of them, and a word a handful of pairs, so ask the pairs instead. `merges` is a
    dictionary from a pair of ids to the id of the token that it becomes. The merges stand in the
    order of learning, and so their ids count up from 256. As long as there is a pair of neighbours
    with a merge, join the one that was **learned first**; if it stands in several places, begin
    with the leftmost.

    For example, with `merges = {(98, 99): 256, (97, 98): 257}`, that is `bc` and then `ab`, the
    piece `b"abc"` becomes `[97, 256]`: `a` and `bc`.
    """,
    hints=[
        "`list(piece)` gives the ids to start from, and `pairwise(tokens)` (of `itertools`) the "
        "pairs of neighbours.",
        "Learned first means: the smallest id in `merges`. Collect the id and the place of every "
        "pair that has a merge; what is `min` of such tuples?",
        "Assigning to a slice, `tokens[i : i + 2] = [new]`, joins two tokens. The new token may "
        "have a merge with a neighbour: after each join collect the pairs again, until no pair "
        "has a merge.",
    ],
    cases=_pieces_and_merges,
    pipeline="""
    from aigc_lab.data.bpe_training import train_bpe
    from aigc_lab.data.corpora import python_docs

    docs = python_docs()
    text = "\\n".join(docs[1::2])
    book = train_bpe(docs[::2], 2048)
    merges = {pair: 256 + number for number, pair in enumerate(book.merges)}
    same_merges = Tokenizer(book.merges)  # has not encoded anything yet

    def encode(self, piece):
        return encode_piece(piece, merges)

    with swap("aigc_lab.data.tokenizer.Tokenizer._merge", encode) as swapped:
        yours = same_merges.encode(text)
    assert yours == book.encode(text), "your tokens are not those of the book's tokenizer"
    print(f"{len(text.encode()):,} bytes of new text became {len(yours):,} tokens, the same as")
    print(f"with the book's tokenizer; your function encoded {swapped.calls:,} different pieces")
    """,
    mistakes=[
        Mistake(
            "You join the leftmost pair that has a merge; the pair that was learned first goes "
            "first, wherever it stands.",
            "min(known)",
            "min(known, key=lambda item: item[1])",
        ),
        Mistake(
            "You join the pair that was learned last; the one that was learned first goes first.",
            "min(known)",
            "min(known, key=lambda item: (-item[0], item[1]))",
        ),
        Mistake(
            "You go through the merges from the last to the first; the one that was learned first "
            "goes first.",
            _from_last_to_first,
        ),
        Mistake(
            "You take the longest token that fits, from left to right. The vocabulary is the same, "
            "but BPE may never get to that token: an earlier merge has used one of its parts.",
            _longest_first,
        ),
        Mistake(
            "Where a pair overlaps itself, as in aaa, you join from the right; it is joined from "
            "left to right.",
            "min(known)",
            "min(known, key=lambda item: (item[0], -item[1]))",
        ),
        Mistake(
            "You join the pair that is most frequent in this piece. That is how merges are "
            "learned; to encode, only the order in which they were learned counts.",
            _most_frequent_first,
        ),
        Mistake(
            "You use each merge once; it applies wherever its pair stands.",
            _one_join_for_each_merge,
        ),
        Mistake(
            "You go once from left to right and join whatever can be joined on the way; a pair "
            "further right may have been learned earlier.",
            _one_pass_from_the_left,
        ),
        Mistake(
            "You look for pairs with a merge only once, at the start. A new token has new "
            "neighbours, and they may have a merge: look again after each join.",
            _without_a_second_look,
        ),
        Mistake(
            "You start from the code points of the text; the ids to start from are the bytes "
            "themselves, and they need not be text at all.",
            "list(piece)",
            "list(map(ord, piece.decode()))",
        ),
    ],
)
def encode_piece(piece: bytes, merges: dict[tuple[int, int], int]) -> list[int]:
    """Token ids of one piece, joined in the order in which merges were learned.

    merges: pair of ids -> id of the token that it becomes, 256 for the first.
    """
    tokens = list(piece)
    while True:
        pairs = enumerate(pairwise(tokens))
        known = [(merges[pair], i) for i, pair in pairs if pair in merges]
        if not known:
            return tokens
        new, i = min(known)  # the earliest learned, and of equals the leftmost
        tokens[i : i + 2] = [new]


two_ways_to_a_token = question(
    "two_ways_to_a_token",
    title="Two ways to one token",
    minutes=45,
    has_one_answer=True,
    statement=r"""
    Let a, b and c stand for any bytes, one or several each. The token `abc` could be joined in two
    ways: from `(a, bc)` or from `(ab, c)`. Can BPE *learn* both of these merges from one text? Find
    an example, or say why there is none. (Call a place between two bytes a border as long as no
    merge has joined across it; the ends of a piece are borders, too. Look at two stretches with the
    same bytes that both still have borders at their ends: can they be cut differently inside?)
    """,
    answer=r"""
    There is none. Take a stretch of text that still has borders at both of its ends. No merge has
    crossed them, so whatever was joined inside was decided by the bytes inside alone: each merge
    is applied everywhere at once. (A run such as `aaaa` is joined in twos from its left end. If it
    reaches across a border, an even number of its tokens stand before that border, or one of the
    twos would have crossed it. So inside it is cut as if the run began, or ended, there.) Hence two
    stretches with the same bytes and with borders at their ends are joined alike inside, at all
    times.

    Now let `(ab, c)` be learned first. It was learned because it occurred, so at least one `abc`
    becomes one token by it; and as all `abc` with borders at their ends are alike, each of them is
    one token from then on. Neighbours `a` and `bc` would be such a stretch that looks different, so
    they cannot occur, then or later. Every learned merge makes a token with bytes of its own.
    `Tokenizer` still provides for two ways, because somebody may give it merges that were not
    learned like this.
    """,
)

your_own_language = question(
    "your_own_language",
    title="Your own language",
    minutes=60,
    statement=r"""
    In the chapter's notebook, put a text in your own language, or in a programming language other
    than Python, through `tokenizer`. How many bytes per token does it reach? Add half of it to the
    training text and measure on the other half, as the chapter does for Chinese. Write down what
    you expect before you measure.
    """,
    answer=r"""
    A script that the tokenizer has not seen starts at 1 byte per token, one that shares letters
    with English above that, a programming language between 2 and 3. How far it rises depends on the
    text and on its amount. As an example, the names of countries, languages and scripts in the
    Unicode data (CLDR), 4,000 bytes for training and as many for the test:

    | | bytes per token, before | after | characters per token, after |
    |---|---|---|---|
    | German | 1.5 | 1.7 | 1.7 |
    | Russian | 1.0 | 2.3 | 1.2 |
    | Thai | 1.0 | 2.8 | 1.0 |
    | Hindi | 1.0 | 2.6 | 1.0 |
    | Tamil | 1.0 | 2.7 | 1.0 |

    Bytes per token flatter a script of three bytes per character, such as the last three; the last
    column does not. These three also rise less than they could. Many of their vowel signs are not
    letters but marks (`\p{M}`), GPT-2's pattern cuts words at marks, and no merge can span a cut.
    With marks among the letters of the pattern, Tamil reaches about 3 bytes per token.
    """,
)


# ---------------------------------------------------------------------------------------- learning


def _pieces_with_counts(draw):
    def words(letters, longest, n):
        return {
            _random_text(draw, letters, draw.integer(2, longest)): draw.integer(1, 6)
            for _ in range(n)
        }

    yield Case("no text", Counter(), 2)
    yield Case("one byte", Counter({"a": 5}), 2)
    yield Case("no merges asked for", Counter({"ab": 5}), 0)
    yield Case("no pair occurs twice", Counter({"abc": 1}), 2)
    yield Case("a pair that occurs twice", Counter({"ab": 2}), 2)
    yield Case("a tie", Counter({"ba": 2, "bc": 2, "ac": 2}), 1)
    yield Case("four equal bytes", Counter({"bbbb": 1, "ac": 2}), 1)
    yield Case("three equal bytes", Counter({"aaa": 2}), 2)
    yield Case("frequent and rare pieces", Counter({"ab": 1, "bab": 1, "cd": 5}), 2)
    yield Case("two bytes for a character", Counter({"né": 3, "è": 2}), 3)
    yield Case("nearly nothing left at the end", Counter({"abab": 1, "abc": 1}), 5)
    yield Case("a pair twice in a piece", Counter({"abab": 2, "abc": 1}), 2)
    yield Case("words of the chapter", Counter(["low", "lower", "lowest", "slow"]), 4)
    yield Case("short words", Counter(words("ab", 5, 4)), 4)
    yield Case("longer words", Counter(words("abc", 8, 5)), 8)
    yield Case("runs", Counter(words("aab", 12, 4)), 8)
    yield Case("many words", Counter(words("etaoin é", 7, 40)), 20)


def _most_frequent_at_first(piece_counts, n_merges):
    counts = Counter()
    for piece, count in piece_counts.items():
        for pair in pairwise(piece.encode()):
            counts[pair] += count
    ranked = sorted(counts, key=lambda pair: (-counts[pair], pair))
    return [pair for pair in ranked[:n_merges] if counts[pair] >= 2]


@exercise(
    title="Learning the merges",
    minutes=45,
    statement=r"""
    Train a tokenizer. `piece_counts` says how often each piece of text occurs. Each piece starts
    as the list of its UTF-8 bytes; then, `n_merges` times:

    1. Count all pairs of neighbours within pieces, each as often as its piece occurs. Pairs that
       overlap count, too: `aaaa` holds `(a, a)` three times.
    2. Take the most frequent pair; of equally frequent ones the smallest, as Python compares
       tuples. Stop early if this pair occurs only once, or if there is no pair.
    3. The pair becomes a new token, with the id 256 for the first merge, 257 for the second and so
       on. Join the pair wherever it stands, in every piece, from left to right.

    Return the list of the pairs in the order in which they were joined. Never mind speed.
    """,
    hints=[
        "Keep a list of `(tokens, count)`, one for each piece, and change the lists of tokens as "
        "you go. `piece_counts` itself must stay as it is.",
        "The counting is two loops, over pieces and over `pairwise(tokens)`, into a fresh "
        "`Counter` for every merge. To join, use the chapter's `join`, or your own.",
        "For the choice, one `min` does both, if its key is a tuple: the count with a minus before "
        "it, so that the largest comes first, and then the pair itself.",
    ],
    cases=_pieces_with_counts,
    pipeline="""
    from time import perf_counter

    import matplotlib.pyplot as plt

    from aigc_lab.data.bpe_training import train_bpe
    from aigc_lab.data.corpora import python_docs
    from aigc_lab.evaluation import plots

    docs = python_docs()
    train_text, test_text = "\\n".join(docs[::2]), "\\n".join(docs[1::2])
    size = 1024  # tokens, 256 of them bytes
    started = perf_counter()
    book = train_bpe(train_text, size)
    seconds_of_book = perf_counter() - started
    with swap("aigc_lab.data.bpe_training.learn_merges", learn_merges_slowly):
        started = perf_counter()
        yours = train_bpe(train_text, size)
        seconds_of_yours = perf_counter() - started

    n_merges = [0, 16, 32, 64, 128, 256, 384, 512, 640, 768]

    def compression(tokenizer):
        \"\"\"Bytes per token on text that was not trained on, after more and more merges.\"\"\"
        parts = [Tokenizer(tokenizer.merges[:n]) for n in n_merges]
        return [len(test_text.encode()) / len(part.encode(test_text)) for part in parts]

    curves = {"the book's": compression(book), "yours": compression(yours)}
    plots.use_book_style()
    figure, axes = plt.subplots()
    axes.plot(n_merges, curves["the book's"], lw=4, alpha=0.4, label="the book's merges")
    axes.plot(n_merges, curves["yours"], "o-", lw=1, color=plots.BLACK, label="yours")
    axes.set(xlabel="number of merges", ylabel="bytes per token", ylim=(0, None))
    axes.set_title("Python's documentation, learned on one half, measured on the other")
    axes.legend()
    for name, values in curves.items():
        print(f"{name:>10}: {values[-1]:.3f} bytes per token after {n_merges[-1]} merges")
    print("your first tokens:", [yours.vocabulary[256 + i] for i in range(8)])
    print(f"the book's took {seconds_of_book:.2f} seconds, yours {seconds_of_yours:.1f}")
    assert yours.merges == book.merges, "your merges are not the book's"
    assert curves["yours"] == curves["the book's"]
    """,
    mistakes=[
        Mistake(
            "You count each different piece once; a pair in a piece that occurs 1000 times counts "
            "1000 times.",
            "pair_counts[pair] += count",
            "pair_counts[pair] += 1",
        ),
        Mistake(
            "You count a pair once for each piece that holds it; it counts at every place.",
            "in pairwise(tokens)",
            "in set(pairwise(tokens))",
        ),
        Mistake(
            "You go on adding to the counts of the last merge; each merge counts from zero.",
            "    merges = []",
            "    merges, pair_counts = [], Counter()",
            "        pair_counts = Counter()\n",
            "",
        ),
        Mistake(
            "The pieces stay as they were, so every merge finds the same pair again: put each "
            "joined list in the place of the old one.",
            "tokens[i : i + 2] = [new]",
            "pass",
        ),
        Mistake(
            "You join a pair only once in each piece; join it wherever it stands.",
            "tokens[i : i + 2] = [new]",
            "tokens[i : i + 2] = [new]\n                    break",
        ),
        Mistake(
            "After a join you step over the next token, too: the two tokens are one now.",
            "tokens[i : i + 2] = [new]",
            "tokens[i : i + 2] = [new]\n                    i += 1",
        ),
        Mistake(
            "You never make a merge. Does your loop run at all? (The new ids go from 256 to "
            "255 + n_merges.)",
            lambda piece_counts, n_merges: [],
        ),
        Mistake(
            "Your first new token has the id 257; the bytes have 0 to 255, so 256 comes next.",
            "range(256, 256 + n_merges)",
            "range(257, 257 + n_merges)",
        ),
        Mistake(
            "Of equally frequent pairs you take the largest; the smallest is asked for.",
            "min(pair_counts, key=lambda p: (-pair_counts[p], p)",
            "max(pair_counts, key=lambda p: (pair_counts[p], p)",
        ),
        Mistake(
            "Of equally frequent pairs you take the one that you saw first, as `most_common` and "
            "`max` do; the smallest is asked for.",
            "(-pair_counts[p], p)",
            "-pair_counts[p]",
        ),
        Mistake(
            "You joined the pieces to one text: pairs then reach from one piece into the next.",
            "[(list(text.encode()), n) for text, n in piece_counts.items()]",
            '[(list("".join(text * n for text, n in piece_counts.items()).encode()), 1)]',
        ),
        Mistake(
            "You do not count pairs that overlap: aaaa holds (a, a) three times, once at each "
            "place.",
            "            for pair in pairwise(tokens):\n                pair_counts[pair] += count",
            "            last = -1\n"
            "            for i, pair in enumerate(pairwise(tokens)):\n"
            "                if pair[0] != pair[1] or last != i - 1 or tokens[i - 1] != pair[0]:\n"
            "                    pair_counts[pair] += count\n"
            "                    last = i",
        ),
        Mistake(
            "You count once and take the most frequent pairs of the first count; every merge "
            "changes the counts, and brings new pairs with the new token.",
            _most_frequent_at_first,
        ),
        Mistake(
            "You go on to pairs that occur only once: stop there.",
            "pair_counts[pair] < 2",
            "pair_counts[pair] < 1",
        ),
        Mistake(
            "You start from characters; a tokenizer on bytes starts from `piece.encode()`.",
            "list(text.encode())",
            "list(map(ord, text))",
        ),
        Mistake(
            "Where a pair overlaps itself, as in aaa, you join from the right; it is joined from "
            "left to right.",
            "            i = 0\n            while i < len(tokens) - 1:",
            "            i = len(tokens) - 2\n            while i >= 0:",
            "i += 1",
            "i -= 1",
            "(tokens[i], tokens[i + 1]) == pair",
            "tuple(tokens[i : i + 2]) == pair",
        ),
    ],
)
def learn_merges_slowly(piece_counts: Counter[str], n_merges: int) -> list[tuple[int, int]]:
    """The pairs of ids in the order in which they are joined, to 256, 257, ...

    piece_counts: how often each piece of text occurs.
    n_merges: how many merges, at most.
    """
    words = [(list(text.encode()), n) for text, n in piece_counts.items()]
    merges = []
    for new in range(256, 256 + n_merges):
        pair_counts = Counter()
        for tokens, count in words:
            for pair in pairwise(tokens):
                pair_counts[pair] += count
        pair = min(pair_counts, key=lambda p: (-pair_counts[p], p), default=None)
        if pair_counts[pair] < 2:  # a missing pair counts 0
            break
        merges.append(pair)
        for tokens, _ in words:
            i = 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) == pair:
                    tokens[i : i + 2] = [new]
                i += 1
    return merges
