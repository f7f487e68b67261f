"""The command line of a conversation: `python -m aigc_lab chat --help`."""

import random
import sys

import click

from aigc_lab.data.chat import CHAT_TOKENS
from aigc_lab.data.tiny_world import TinyWorld, WorldSettings
from aigc_lab.generation.chat import Chat
from aigc_lab.generation.sampling import Sampling
from aigc_lab.models.shipped import ShippedModelError, load_shipped

STORIES = WorldSettings(seed=1, mix=(1.0, 0.0, 0.0, 0.0))  # none that the model was trained on
HELP = """\
It knows one tiny world: people, places, things, sums up to 99. Try
  Tell me a story about Mei with a kite in five sentences.     What is 37 + 48?
/story        read out a new story; your next message can ask about it
/system TEXT  begin anew with a system message, such as: /system Give short answers.
/new          begin anew, with the system message of the start
/help         this text
/quit         leave (or Ctrl-D); Ctrl-C stops a reply"""


@click.command("chat")
@click.option("--model", "name", default="chat", show_default=True, help="A shipped model.")
@click.option("--system", default="", help="The system message.")
@click.option("--temperature", type=click.FloatRange(0), default=0.7, show_default=True)
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True
)
@click.option("--seed", type=int, help="Of the chance; by default each talk is another.")
def chat(name: str, system: str, temperature: float, top_p: float, seed: int | None) -> None:
    """Talk with the book's instruction-tuned model in the terminal."""
    try:
        model, tokenizer = load_shipped(name)
    except ShippedModelError as error:
        raise click.ClickException(str(error)) from error
    if missing := set(CHAT_TOKENS) - set(getattr(tokenizer, "special_tokens", ())):
        raise click.ClickException(
            f"the model {name!r} was not taught to converse: its tokenizer lacks {min(missing)}"
        )
    seed = random.randrange(2**31) if seed is None else seed
    stories = TinyWorld(STORIES)

    def begin(text: str) -> Chat:
        sampling = Sampling(temperature=temperature, top_p=top_p)
        return Chat(model, tokenizer, text, sampling, seed=seed)

    talk, story, n_stories = begin(system), "", seed
    click.echo(HELP)
    while (line := _read_line()) is not None:
        command, _, rest = line.partition(" ")
        if not line:
            continue
        if command == "/quit":
            break
        if command == "/story":
            n_stories += 1
            story = stories.document(n_stories).text
            click.echo(story)
        elif command in ("/system", "/new"):
            text = rest.strip() if command == "/system" else system
            talk, story = begin(text), ""
            click.echo("A new conversation." + (f" System: {text}" if text else ""))
        elif command.startswith("/"):
            click.echo(HELP)
        elif _reply(talk, f"Here is a story. {story} {line}" if story else line):
            story = ""  # it is part of the conversation now


def _read_line() -> str | None:
    """What the user types; None at the end of the input."""
    try:
        return input("\nYou: " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        click.echo()
        return None


def _reply(talk: Chat, text: str) -> bool:
    """Show the reply to a text as it comes; whether the text was taken."""
    forgotten, n_pieces = talk.n_forgotten, 0
    try:
        for piece in talk.say(text):
            if not n_pieces and talk.n_forgotten > forgotten:
                click.echo("(The oldest turns no longer fit and are forgotten.)")
            click.echo(("" if n_pieces else "Assistant: ") + piece, nl=False)
            n_pieces += 1
        click.echo("" if n_pieces else "Assistant: (says nothing)")
    except KeyboardInterrupt:
        click.echo(" ...")
    except ValueError as error:
        click.echo(str(error), err=True)
        return False
    return True
