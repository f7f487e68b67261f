"""The command line of collecting feedback: `python -m aigc_lab feedback --help`."""

import asyncio
import getpass
import webbrowser
from pathlib import Path

import click

from aigc_lab.alignment.feedback.judging import Judging
from aigc_lab.alignment.feedback.pairs import load_pairs, save_pairs
from aigc_lab.alignment.feedback.server import FeedbackServer


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name in the environment, no list of users
        return "reader"


@click.command("feedback")
@click.argument("pairs_path", metavar="PAIRS", type=click.Path(path_type=Path))
@click.option(
    "--votes",
    "votes_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("votes.jsonl"),
    show_default=True,
    help="The file to which votes are added.",
)
@click.option("--labeller", help="Who judges; by default your user name.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free one."
)
@click.option("--no-browser", is_flag=True, help="Only print the page's address.")
@click.option("--make", "n_pairs", type=click.IntRange(1), help="Make so many pairs, and end.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of --make.")
def feedback(
    pairs_path: Path,
    votes_path: Path,
    labeller: str | None,
    port: int,
    no_browser: bool,
    n_pairs: int | None,
    seed: int,
) -> None:
    """Judge the pairs of answers in the file PAIRS on a page in the browser.

    Each vote is on the disk before the next pair is shown; stop with Ctrl-C and go on whenever you
    like. With --make N, the book's chat model first writes N pairs into the file.
    """
    try:
        if n_pairs:
            _make(pairs_path, n_pairs, seed)
            return
        labeller = _user() if labeller is None else labeller
        judging = Judging(load_pairs(pairs_path), votes_path, labeller)
        asyncio.run(_serve(FeedbackServer(judging, port), not no_browser))
    except KeyboardInterrupt:
        now = judging.standing()
        click.echo(f"\n{now.n_judged} of {now.n_pairs} pairs are judged; votes: {votes_path}")
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


async def _serve(server: FeedbackServer, opens_browser: bool) -> None:
    server.start()
    click.echo(f"Judge here: {server.address}\nStop with Ctrl-C.")
    if opens_browser:
        await asyncio.to_thread(webbrowser.open, server.address)
    await asyncio.Event().wait()


def _make(path: Path, n_pairs: int, seed: int) -> None:
    from aigc_lab.alignment.feedback.making import make_pairs
    from aigc_lab.models.shipped import ShippedModelError, load_shipped

    if path.exists():
        raise click.ClickException(f"{path} exists: name a new file")
    try:
        model, tokenizer = load_shipped("chat")
    except ShippedModelError as error:
        raise click.ClickException(str(error)) from error
    save_pairs(path, make_pairs(model, tokenizer, n_pairs, seed=seed))
    click.echo(f"{n_pairs} pairs are in {path}. Judge them: python -m aigc_lab feedback {path}")
