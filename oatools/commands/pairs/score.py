"""oa-pairs score: score readers and models on the pairs, and compare them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.commands.pairs.few import say_few
from oatools.core.cli import subcommand
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import check_outputs, write_outputs
from oatools.core.helptext import Example, argument, heading
from oatools.core.manifest import print_table, table_bytes
from oatools.core.options import (
    bootstrap_option,
    figure_option,
    file_option,
    force_option,
    seed_option,
)
from oatools.core.provenance import CAUTION_COLUMN, caution_cell
from oatools.core.repeats import Repeats
from oatools.core.words import counted

if TYPE_CHECKING:
    from oatools.reading.compare import Comparison
    from oatools.reading.pairs import Key
    from oatools.reading.score import Grades, Groups, Method, ReaderScore, Solution

#: Fewer groups than these make intervals and p values rough.
_FEW_GROUPS = 20
# From this share of a score's pairs on its ties are told of.
_MANY_TIES = 0.1
#: Fewer readers than these leave intervals for random readers somewhat too short.
_FEW_READERS = 4


@subcommand(
    "score",
    examples=(
        Example(
            "Two readers and a model on the same pairs",
            "oa-pairs score junior.tsv senior.tsv --pairs pairs.tsv --key key.tsv --model "
            "predictions.tsv > score.tsv",
        ),
        Example(
            "A figure and the sentences for a paper",
            "oa-pairs score junior.tsv --key key.tsv --figure score.svg --paragraph score.txt > "
            "score.tsv",
        ),
    ),
)
@argument("answers", "Answers, as the page saves them.", nargs=-1, metavar="[ANSWERS.tsv]...")
@heading("What is scored")
@click.option(
    "--key", required=True, metavar="FILE", help="Table of the answers, from oa-pairs draw."
)
@click.option(
    "--pairs",
    "pairs_file",
    metavar="FILE",
    help="Table of the pairs that were read, as oa-pairs draw or page prints them; needed with "
    "--model.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="FILE",
    help="Table with knee and probability, scored like a reader; repeatable.",
)
@heading("Statistics")
@click.option(
    "--interval",
    type=click.Choice(["exact", "clustered", "bootstrap"]),
    default="exact",
    show_default=True,
    help="Interval of the shares; the last two account for patients who occur in two pairs.",
)
@click.option(
    "--readers",
    "readers_as",
    type=click.Choice(["fixed", "random"]),
    default="fixed",
    show_default=True,
    help="Whether the readers' mean, and models against it, speak of these readers or of others, "
    "too, of whom these are a sample.",
)
@heading("Output")
@file_option(
    "--compare",
    "Write the difference and the agreement of every two readers or models to this table.",
)
@figure_option("the shares and their intervals")
@file_option("--paragraph", "Write the result in sentences, for a paper.")
@heading("Statistics")
@bootstrap_option("for the intervals of kappa, and of --interval bootstrap")
@partial(force_option, help="Replace existing files.")
@seed_option
def score_command(
    console: Console,
    answers: tuple[str, ...],
    key: str,
    pairs_file: str | None,
    models: tuple[str, ...],
    interval: str,
    readers_as: str,
    compare: Path | None,
    figure: Path | None,
    paragraph: Path | None,
    bootstrap: int,
    force: bool,
    seed: int,
) -> int:
    """Score ANSWERS.tsv, tables of answers such as a page's readers save.

    Their columns are pair and choice (A, B or n/a). Prints one row for each reader and stratum: the
    share of answered pairs that are right (a tie counts one half), which is the area under the ROC
    curve, with its 95 % interval. The first column is the reader, not a knee.
    """
    from oatools.reading.compare import COMPARISON_COLUMNS
    from oatools.reading.groups import count_shared, groups_of
    from oatools.reading.score import (
        SCORE_COLUMNS,
        Method,
        grade_tables,
        read_solution,
        summarise_all,
    )

    if not answers and not models:
        raise UsageError("nothing to score: give tables of answers, or --model (see --help)")
    if models and pairs_file is None:
        raise UsageError("--model needs --pairs, which says which two knees are in a pair")
    outputs = {"--compare": compare, "--figure": figure, "--paragraph": paragraph}
    inputs = [path for path in (key, pairs_file, *answers, *models) if path is not None]
    check_outputs(outputs, inputs, force=True)  # what is there may be what is written

    solution = read_solution(key, pairs_file)
    _say_not_shown(console, solution, pairs_file)
    grades = grade_tables(answers, models, solution)
    _say_ungraded(console, grades)
    groups, unknown = groups_of(solution.key, solution.pairs)
    _say_groups(console, groups, unknown, interval)
    method = Method(
        interval,
        bootstrap,
        seed,
        n_shared=count_shared(groups),
        random_readers=readers_as == "random",
    )
    _check_readers(console, grades, method)
    scores = summarise_all(grades, solution.key, groups, method)
    caution = {CAUTION_COLUMN: caution_cell(grades.cautions)}
    _say_unanswered(console, scores)
    _say_ties(console, scores)
    made: dict[str, tuple[Path, bytes]] = {}
    if compare is not None or paragraph is not None:
        comparisons = _compare(grades, solution.key, groups, method)
        if compare is not None:
            compared = [found.row() | caution for found in comparisons]
            made["--compare"] = compare, table_bytes(COMPARISON_COLUMNS, compared)
        if paragraph is not None:
            text = _paragraph(scores, comparisons, grades, method)
            made["--paragraph"] = paragraph, text.encode()
    if figure is not None:
        made["--figure"] = figure, _figure(figure.suffix[1:], scores, grades, method)
    write_outputs(made, force)
    print_table(SCORE_COLUMNS, [score.row() | caution for score in scores])
    _say_scored(console, grades, len(solution.key))
    return 1 if grades.errors else 0


def _check_readers(console: Console, grades: "Grades", method: "Method") -> None:
    """Refuse to speak of other readers where no two say how much readers differ."""
    if not method.random_readers:
        return
    count = len(grades.readers)
    if count < 2:
        raise UsageError(f"--readers random needs answers of two readers or more, not of {count}")
    if count < _FEW_READERS:
        console.note(
            f"{count} readers say little of how much readers differ: intervals for random readers "
            "are somewhat too short"
        )


def _compare(
    grades: "Grades", key: "Key", groups: "Groups", method: "Method"
) -> "list[Comparison]":
    from oatools.reading.compare import compare_scores

    return compare_scores(
        grades.scores,
        grades.readers,
        key,
        groups,
        draws=method.draws,
        seed=method.seed,
        random_readers=method.random_readers,
    )


def _paragraph(
    scores: "Sequence[ReaderScore]",
    comparisons: "Sequence[Comparison]",
    grades: "Grades",
    method: "Method",
) -> str:
    from oatools.reading.paragraph import describe_result

    return describe_result(
        scores, comparisons, grades.readers, grades.models, method, grades.cautions
    )


def _figure(
    kind: str, scores: "Sequence[ReaderScore]", grades: "Grades", method: "Method"
) -> bytes:
    from oatools.reading.figure import forest_figure
    from oatools.report.figures import encode_marked

    return encode_marked(forest_figure(scores, grades.models, method), kind, grades.cautions)


def _say_not_shown(console: Console, solution: "Solution", pairs_file: str | None) -> None:
    if solution.n_not_shown:
        whole = counted(len(solution.key) + solution.n_not_shown, "pair")
        console.note(
            f"{solution.n_not_shown} of {whole} of the key are not in {pairs_file}, and not scored"
        )


def _say_ungraded(console: Console, grades: "Grades") -> None:
    repeats = Repeats(console, "cell")
    for where, message in grades.errors:
        repeats.error(where, message)
    repeats.say_rest()
    if len(grades.pages) > 1:
        console.note(
            f"the answers are to {len(grades.pages)} different pages (column 'study'): readers saw "
            "other images"
        )


def _say_groups(console: Console, groups: "Groups", unknown_knees: int, interval: str) -> None:
    """Say how many pairs share a patient, and what that means for the intervals."""
    from oatools.reading.groups import count_shared

    if unknown_knees:
        console.note(
            f"of {counted(unknown_knees, 'knee')} the patient is not known, and taken for another "
            "than all others"
        )
    shared, count = count_shared(groups), len(set(groups.values()))
    if not shared:
        return
    advice = ""
    if interval == "exact":
        advice = ": exact intervals take them for independent, and --interval clustered does not"
    console.note(
        f"{shared} pairs share a patient with another, and all pairs make "
        f"{counted(count, 'group')} that share none{advice}"
    )
    if count < _FEW_GROUPS:
        console.note("so few groups make intervals and p values rough; draw pairs with --one-knee")


def _say_unanswered(console: Console, scores: "Sequence[ReaderScore]") -> None:
    from oatools.reading.score import ALL_PAIRS, MEAN

    for score in scores:
        if score.stratum == ALL_PAIRS and score.reader != MEAN and score.n_unanswered:
            console.note(
                f"{score.reader}: {score.n_unanswered} of {score.pairs} pairs without an answer"
            )


def _say_ties(console: Console, scores: "Sequence[ReaderScore]") -> None:
    """Say of whom many pairs are ties, which count as half right, whatever was thought."""
    from oatools.reading.score import ALL_PAIRS

    for score in scores:
        if score.stratum != ALL_PAIRS or not score.ties or not score.answered:
            continue
        if score.ties > _MANY_TIES * score.answered:
            console.note(
                f"{score.reader} does not tell the knees of {score.ties} of "
                f"{counted(score.answered, 'pair')} apart: such ties count one half"
            )


def _say_scored(console: Console, grades: "Grades", pairs: int) -> None:
    scored = []
    for noun, names in (("reader", grades.readers), ("model", grades.models)):
        if names:
            scored.append(counted(len(names), noun))
    failed = ""
    if grades.errors:
        failed = f", {counted(len(grades.errors), 'cell')} could not be used"
    console.note(f"{' and '.join(scored)} scored on {counted(pairs, 'pair')}{failed}")
    say_few(console, pairs)
