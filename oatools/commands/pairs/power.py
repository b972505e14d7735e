"""oa-pairs power: the number of pairs that a reading study needs, by simulation."""

import click

from oatools.core.cli import subcommand
from oatools.core.console import Console
from oatools.core.helptext import Example, heading
from oatools.core.manifest import print_table
from oatools.core.options import seed_option


@subcommand(
    "power",
    examples=(
        Example(
            "The number of pairs that would have shown the difference between the paper's model "
            "and one reader",
            "oa-pairs power --power 0.8",
        ),
        Example(
            "The power of 150 pairs, and of 300",
            "oa-pairs power --pairs 150 --pairs 300 | cut -f 1-3",
        ),
    ),
)
@heading("Assumptions")
@click.option(
    "--model",
    type=float,
    default=0.65,
    show_default=True,
    metavar="AUC",
    help="AUC of the model.",
)
@click.option(
    "--reader",
    type=float,
    default=0.587,
    show_default=True,
    metavar="AUC",
    help="AUC of each reader.",
)
@click.option(
    "--readers",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of readers, each of whom reads all pairs; the model is compared with their mean.",
)
@click.option(
    "--correlation",
    type=float,
    default=0.3,
    show_default=True,
    metavar="R",
    help="Correlation of any two judges, 0 to less than 1: to what extent the same pairs "
    "are easy for both.",
)
@heading("What is sought")
@click.option(
    "--power",
    "wanted",
    type=float,
    default=0.8,
    show_default=True,
    metavar="P",
    help="Probability of finding the difference, for which the number of pairs is sought.",
)
@click.option(
    "--alpha",
    type=float,
    default=0.05,
    show_default=True,
    metavar="P",
    help="Level of the two-sided test.",
)
@click.option(
    "--pairs",
    "counts",
    type=click.IntRange(2, 100_000),
    multiple=True,
    metavar="N",
    help="Estimate the power of this many pairs instead; repeatable.",
)
@click.option(
    "--draws",
    type=click.IntRange(100),
    default=4000,
    show_default=True,
    metavar="N",
    help="Number of simulated studies.",
)
@seed_option
def power_command(
    console: Console,
    model: float,
    reader: float,
    readers: int,
    correlation: float,
    wanted: float,
    alpha: float,
    counts: tuple[int, ...],
    draws: int,
    seed: int,
) -> None:
    """Estimate how many pairs show that a model differs from its readers, by simulation.

    The defaults are the paper's AUCs: 0.65 of the model, 0.587 of its readers, who read 150 pairs.
    """
    from oatools.reading.power import (
        POWER_COLUMNS,
        PowerAssumptions,
        estimate_power,
        pairs_needed,
    )

    assumed = PowerAssumptions(
        model=model, reader=reader, readers=readers, correlation=correlation, alpha=alpha
    )
    sizes = counts or (pairs_needed(assumed, wanted, draws, seed),)
    estimates = [estimate_power(assumed, pairs, draws, seed) for pairs in sizes]
    print_table(POWER_COLUMNS, [estimate.row() for estimate in estimates])
    if not counts:
        console.note(
            f"{sizes[0]} pairs for a power of {wanted:g}, from {draws} simulated studies a size"
        )
