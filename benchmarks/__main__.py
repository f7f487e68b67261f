"""Command line of the benchmarks."""

import platform

import click
import torch

from benchmarks import attention, gpt, shakespeare, tokenizer
from benchmarks.timing import table

PARTS = ("tokenizer", "attention", "gpt", "shakespeare")


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
@click.option("--merges", default=8000, show_default=True, help="Merges that are learned.")
@click.option("--characters", type=int, help="Use only the start of the text.")
@click.option(
    "--length",
    "lengths",
    multiple=True,
    default=(64, 256, 1024),
    show_default=True,
    help="Sequence length of attention; may be given several times.",
)
@click.option("--tokens", default=128, show_default=True, help="Tokens that the GPT writes.")
@click.option("--repeats", default=5, show_default=True, help="The median of so many is shown.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
def main(
    parts: tuple[str, ...],
    merges: int,
    characters: int | None,
    lengths: tuple[int, ...],
    tokens: int,
    repeats: int,
    threads: int,
) -> None:
    """Measure PARTs beside other implementations: tokenizer, attention, gpt, shakespeare.

    Without any PART all but shakespeare, which trains two models and takes some minutes.

    Only ratios are comparable between machines: both sides are measured in the same run. The
    exit code is 1 if a promise is broken.
    """
    torch.set_num_threads(threads)
    results = []
    if not parts or "tokenizer" in parts:
        results += tokenizer.run(merges, repeats, characters)
    if not parts or "attention" in parts:
        results += attention.run(lengths, repeats)
    if not parts or "gpt" in parts:
        results += gpt.run(tokens, repeats)
    if "shakespeare" in parts:
        try:
            results += shakespeare.run()
        except FileNotFoundError as error:  # says how to download the text
            raise click.ClickException(str(error)) from error
    click.echo(
        f"Python {platform.python_version()}, torch {torch.__version__}; each number is the median "
        f"of {repeats} runs, except that shakespeare trains once"
    )
    click.echo(table(results))
    if any(result.kept is False for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
