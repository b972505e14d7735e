"""oa-pairs draw: draw pairs of knees from a table of labels, and write the answers to a key."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.commands.pairs.few import say_few
from oatools.core.cli import subcommand
from oatools.core.console import Console
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import check_outputs
from oatools.core.helptext import Example, argument, heading
from oatools.core.manifest import MISSING, Row, Table, naming_table, print_table, read_table
from oatools.core.options import force_option, seed_option, time_option
from oatools.core.words import counted

if TYPE_CHECKING:
    from oatools.reading.draw import Caliper
    from oatools.reading.pairs import Pair
    from oatools.reading.strata import Stratum

DEFAULT_PAIRS = 150


@subcommand(
    "draw",
    examples=(
        Example(
            "A study like the paper's",
            "oa-pairs draw labels.tsv --seed 0 --key key.tsv > pairs.tsv",
        ),
        Example(
            "Pairs alike in age, sex and BMI, with each patient in one pair only",
            "oa-pairs draw labels.tsv --match age:5 --match sex --match bmi:2 --one-knee --key "
            "key.tsv > pairs.tsv",
        ),
    ),
)
@argument("labels", "Labels, from oa-label.", metavar="LABELS.tsv")
@heading("Pairs")
@click.option(
    "--pairs",
    "count",
    type=click.IntRange(1),
    metavar="N",
    help=f"Number of pairs, to which the strata are scaled.  [default: {DEFAULT_PAIRS}]",
)
@click.option(
    "--stratum",
    "strata",
    multiple=True,
    metavar="LOW:HIGH:N",
    help="Draw N progressors with LOW <= jsn < HIGH, in mm; either bound may be blank; repeatable. "
    "The greatest HIGH is included.  [default: :-1.1:10 -1.1:-0.6:130 -0.6:-0.5:10]",
)
@click.option(
    "--no-strata",
    is_flag=True,
    help="Draw from all progressors, as is done with labels that have no jsn.",
)
@time_option("Pair knees to which it had happened within so many months with others")
@click.option(
    "--match",
    "matched",
    multiple=True,
    metavar="COLUMN[:WIDTH]",
    help="Pair knees with the same value, or with numbers within WIDTH of each other; repeatable.",
)
@click.option(
    "--one-knee", is_flag=True, help="Use no patient twice, so that pairs are independent."
)
@heading("Output")
@click.option(
    "--show",
    "shown",
    multiple=True,
    metavar="COLUMN",
    help="Show readers this clinical variable; repeatable.  [default: those of the reading study]",
)
@click.option(
    "--key",
    "key",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Write the answers to this table.",
)
@partial(force_option, help="Replace existing files.")
@seed_option
def draw_command(
    console: Console,
    labels: str,
    count: int | None,
    strata: tuple[str, ...],
    no_strata: bool,
    at: float | None,
    matched: tuple[str, ...],
    one_knee: bool,
    shown: tuple[str, ...],
    key: Path,
    force: bool,
    seed: int,
) -> None:
    """Draw pairs from LABELS.tsv (of oa-label), and print them without the answers.

    Each pair has two rows, A and B. A progressor has label 1, its partner label 0 and is another
    patient; no knee is used twice.
    """
    from oatools.learning.followup import labelled_by
    from oatools.reading.blinding import shown_columns
    from oatools.reading.draw import draw_pairs, parse_calipers
    from oatools.reading.pairs import draw_step, pair_columns, pair_rows, record_path, save_key

    if strata and (count is not None or no_strata):
        raise UsageError(
            "--stratum says how many pairs there are", "leave out --pairs and --no-strata"
        )
    # `save_key` asks about their content.
    check_outputs({"--key": key, "the record of --key": record_path(key)}, [labels], force=True)
    calipers = parse_calipers(matched)
    table = labelled_by(read_table(labels, ["knee", "subject", "visit", "side"]), at)
    table.require("label")
    table.require(*[caliper.column for caliper in calipers])
    total = count or DEFAULT_PAIRS
    wanted = () if no_strata else _wanted_strata(strata, total, table)
    rows = list(table.rows)
    endpoints = sorted({row.get("endpoint", MISSING) for row in rows})
    variables = shown_columns(table.columns, shown, endpoints, rows)
    with naming_table(table.name):
        pairs = draw_pairs(rows, wanted, total, seed, calipers=calipers, one_knee=one_knee)

    parameters = {
        "strata": [f"{stratum.name}:{stratum.count}" for stratum in wanted],
        "pairs": len(pairs),
        "seed": seed,
        "match": list(matched),
        "one_knee": one_knee,
        "show": variables,
        "endpoint": endpoints,
    }
    made = draw_step(labels, table.columns, rows, parameters)
    is_kept = save_key(key, pairs, made, force)
    columns = pair_columns(variables)
    print_table(columns, pair_rows(pairs, columns))
    _say_differences(console, pairs, calipers)
    drawn = counted(len(pairs), "pair") + " drawn"
    if not wanted:
        drawn += " without strata"
    for path in (key, record_path(key)):
        if not path.is_file():
            raise ItemError(f"{path} was removed since it was written", "run the same again")
    verb = "were kept" if is_kept else "are"
    console.note(f"{drawn}; the answers {verb} in {key}")
    say_few(console, len(pairs))


def _wanted_strata(texts: Sequence[str], total: int, table: Table[Row]) -> "tuple[Stratum, ...]":
    """The strata asked for, or the published ones with `total` pairs, if the labels have `jsn`."""
    from oatools.reading.strata import PAPER_STRATA, parse_strata, scale_strata

    if not texts:
        return scale_strata(PAPER_STRATA, total) if "jsn" in table.columns else ()
    table.require("jsn")
    strata = parse_strata(texts)
    if not any(stratum.count for stratum in strata):
        raise UsageError("the strata ask for no pair")
    return strata


def _say_differences(
    console: Console, pairs: "Sequence[Pair]", calipers: "Sequence[Caliper]"
) -> None:
    """Say how far the knees of pairs differ in the numbers that they were matched on."""
    from oatools.reading.draw import differences

    for caliper in calipers:
        if caliper.width is None:
            continue
        mean, most = differences(pairs, caliper)
        console.note(
            f"{caliper.name}: progressors less partners {mean:+.3g} on average, at most "
            f"{most:.3g} apart"
        )
