"""oa-pairs: draw pairs of knees for a reading study, score readers and models on them, and say how many it takes."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.core import manifest
from oatools.core.cli import group, subcommand
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import atomic, write_text
from oatools.core.manifest import MISSING, Row
from oatools.core.options import force_option, out_dir_option, run_options, seed_option
from oatools.core.runner import RunOptions, run_rows

if TYPE_CHECKING:
    from oatools.reading.score import Graded

DEFAULT_PAIRS = 150
_FEW_GROUPS = 20


@group("oa-pairs")
def main() -> None:
    """Reading studies: pairs of a knee that progresses and one that does not."""


@subcommand(main, "draw")
@click.argument("labels", metavar="LABELS.tsv")
@click.option(
    "--pairs",
    "count",
    type=click.IntRange(1),
    metavar="N",
    help=f"How many pairs; the strata are scaled to it.  [default: {DEFAULT_PAIRS}]",
)
@click.option(
    "--stratum",
    "strata",
    multiple=True,
    metavar="LOW:HIGH:N",
    help="N progressors with LOW <= jsn < HIGH, in mm, either bound may be blank; repeatable. The greatest "
    "HIGH is included.  [default: :-1.1:10 -1.1:-0.6:130 -0.6:-0.5:10]",
)
@click.option(
    "--no-strata", is_flag=True, help="Draw from all progressors; so it is for labels without jsn."
)
@click.option(
    "--match",
    "matched",
    multiple=True,
    metavar="COLUMN[:WIDTH]",
    help="Knees of a pair have one value, or numbers within WIDTH of each other; repeatable.",
)
@click.option(
    "--one-knee", is_flag=True, help="Use no patient twice, so that pairs are independent."
)
@click.option(
    "--show",
    "shown",
    multiple=True,
    metavar="COLUMN",
    help="Clinical variable that readers see; repeatable.  [default: the reading study's]",
)
@click.option(
    "--key",
    "key",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Write the answers to this table.",
)
@force_option
@seed_option
def draw(
    console: Console,
    labels: str,
    count: int | None,
    strata: tuple[str, ...],
    no_strata: bool,
    matched: tuple[str, ...],
    one_knee: bool,
    shown: tuple[str, ...],
    key: Path,
    force: bool,
    seed: int,
) -> None:
    """Draw pairs from LABELS.tsv (of oa-label) and print them without the answers: two rows a pair, A and B.

    A progressor has label 1, its partner label 0 and is another patient; no knee is used twice.
    """
    from oatools.reading import draw as drawing

    if strata and (count is not None or no_strata):
        raise UsageError(
            "--stratum says how many pairs there are; leave out --pairs and --no-strata"
        )
    _refuse_outputs({"--key": key}, [labels], force=True)
    calipers = drawing.parse_calipers(matched)
    columns = [
        "knee",
        "subject",
        "visit",
        "side",
        "label",
        *(caliper.column for caliper in calipers),
    ]
    table = manifest.read_table(labels, columns)
    has_jsn = "jsn" in table.columns
    if strata and not has_jsn:
        table.require("jsn")
    total = count or DEFAULT_PAIRS
    wanted = (
        drawing.parse_strata(strata)
        if strata
        else drawing.scale_strata(drawing.PAPER_STRATA, total)
    )
    if not any(stratum.count for stratum in wanted):
        raise UsageError("the strata ask for no pair")
    used = () if no_strata or not has_jsn else wanted
    rows = list(table.rows)
    endpoints = sorted({row.get("endpoint", MISSING) for row in rows})
    readers_see = drawing.shown_columns(table.columns, shown, endpoints, rows)
    pairs = drawing.draw_pairs(rows, used, total, seed, calipers, one_knee)
    answers = list(drawing.key_rows(pairs))
    kept = key.exists() and key.read_bytes() == manifest.table_bytes(drawing.KEY_COLUMNS, answers)
    if key.exists() and not kept and not force:
        raise UsageError(
            f"{key} exists, with the answers to another draw; use --force to replace it, or another --key"
        )
    if not key.exists() and drawing.record_of(key).exists() and not force:
        raise UsageError(
            f"{drawing.record_of(key)} exists; use --force to replace it, or another --key"
        )
    if not kept:
        parameters = {
            "strata": [f"{s.name}:{s.count}" for s in used],
            "pairs": len(pairs),
            "seed": seed,
            "match": list(matched),
            "one_knee": one_knee,
            "show": readers_see,
            "endpoint": endpoints,
        }
        drawing.write_record(key, labels, table.columns, rows, parameters)
        manifest.write_table(key, drawing.KEY_COLUMNS, answers)
    columns = drawing.pair_columns(readers_see)
    manifest.print_table(columns, drawing.pair_rows(pairs, columns))
    for caliper in calipers:
        if caliper.width is not None:
            mean, most = drawing.differences(pairs, caliper)
            console.note(
                f"{caliper.name}: progressors less partners {mean:+.3g} on average, at most {most:.3g} apart"
            )
    where = f"the answers {'were kept' if kept else 'are'} in {key}"
    console.note(f"{_count(len(pairs), 'pair')} drawn{'' if used else ' without strata'}; {where}")


@subcommand(main, "page")
@click.argument("pairs_file", metavar="PAIRS.tsv")
@click.argument("volumes", nargs=-1, metavar="[VOLUMES.tsv|PATH]...")
@out_dir_option("the page, with index.html")
@click.option(
    "--sequence",
    "sequences",
    multiple=True,
    metavar="NAME",
    help="Sequence to show; repeatable, in this order.  [default: all in the volumes]",
)
@click.option(
    "--show",
    "variables",
    multiple=True,
    metavar="COLUMN",
    help="Clinical variable that readers see; repeatable.  [default: oa-label's]",
)
@click.option(
    "--title",
    default="Reading study",
    show_default=True,
    metavar="TEXT",
    help="What stands at the top.",
)
@click.option(
    "--question",
    default="Which of the two knees will progress?",
    show_default=True,
    metavar="TEXT",
    help="What readers are asked.",
)
@click.option(
    "--answer",
    default="progresses",
    show_default=True,
    metavar="TEXT",
    help="What follows A and B on the buttons.",
)
@force_option
@run_options
def page(
    console: Console,
    pairs_file: str,
    volumes: tuple[str, ...],
    out_dir: Path,
    sequences: tuple[str, ...],
    variables: tuple[str, ...],
    title: str,
    question: str,
    answer: str,
    force: bool,
    run: RunOptions,
) -> int:
    """Make a folder in which readers see the pairs of PAIRS.tsv (of oa-pairs draw), with index.html to open.

    VOLUMES.tsv are tables with knee, sequence and path, such as oa-orient's, or volumes; without
    any, the pairs have these columns. Prints the rows of the volumes with their file in the page:
    with them one can tell which knee is which.
    """
    from oatools.reading import page as paging

    paging.require_free(out_dir, force)
    needed = ["knee", "side", "pair", "place"]
    table = manifest.read_table(pairs_file, needed)
    if not volumes and not {"sequence", "path"} <= set(table.columns):
        raise UsageError(
            f"{pairs_file} has no columns 'sequence' and 'path': give tables of volumes, such as oa-n4's"
        )
    rows = list(table.rows)
    pairs = paging.read_pairs(table.columns, rows)
    shown = [_volumes(v).require("knee", "sequence", "path").rows for v in volumes]
    found = chain.from_iterable(shown) if shown else rows
    plan, items = paging.plan(table.columns, pairs, found, sequences, variables)
    console.note(
        f"readers see {', '.join(plan.variables) or 'no clinical variable'}, and {', '.join(plan.frames)}"
    )
    if plan.hidden and not variables:
        console.note(f"and not {', '.join(plan.hidden)}: --show would show them")
    done: list[Row] = []
    with paging.new_folder(out_dir, force) as folder:
        # The rows are true once the page is there, and are printed then.
        status = run_rows(
            console,
            manifest.Table(table.columns, iter(items), table.name, len(items)),
            partial(paging.show_volume, folder=folder, plan=plan),
            run,
            on_done=lambda row, cells: done.append({**row, **cells}),
            print_rows=False,
        )
        wording = paging.Wording(title, question, answer)
        complete = [] if status and run.fail_fast else paging.finish(folder, plan, done, wording)
    columns = [
        *(c for c in table.columns if c not in ("sequence", "path", "error")),
        "sequence",
        "path",
        "page",
    ]
    manifest.print_table(columns, (row for row in done if row["pair"] in complete))
    for sequence, frame in plan.frames.items():
        if frame.smaller:
            console.note(
                f"{frame.smaller} of {2 * len(pairs)} volumes of {sequence} are smaller than the largest, and "
                "get black margins: look whether their size goes with the answer"
            )
    if len(complete) < len(pairs) and not (status and run.fail_fast):
        console.note(
            f"{len(pairs) - len(complete)} of {len(pairs)} pairs are left out, for want of a volume"
        )
    made = f"{_count(len(complete), 'pair')} in {out_dir / 'index.html'}"
    console.note(made if complete else "no page is made")
    return status


@subcommand(main, "score")
@click.argument("answers", nargs=-1, metavar="[ANSWERS.tsv]...")
@click.option("--key", required=True, metavar="FILE", help="The answers, from oa-pairs draw.")
@click.option(
    "--pairs",
    "pairs_file",
    metavar="FILE",
    help="The pairs that were read, as oa-pairs draw or page prints them; needed with --model.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="FILE",
    help="A table with knee and probability, scored like a reader; repeatable.",
)
@click.option(
    "--interval",
    type=click.Choice(["exact", "clustered", "bootstrap"]),
    default="exact",
    show_default=True,
    help="Of the shares right; the last two allow for patients who are in two pairs.",
)
@click.option(
    "--compare",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write how each two of them differ and agree to this table.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw the shares and their intervals: .png or .svg.",
)
@click.option(
    "--paragraph",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the result in sentences, for a paper.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(100),
    default=2000,
    show_default=True,
    metavar="N",
    help="Draws for the intervals of kappa, and of --interval bootstrap.",
)
@force_option
@seed_option
def score(
    console: Console,
    answers: tuple[str, ...],
    key: str,
    pairs_file: str | None,
    models: tuple[str, ...],
    interval: str,
    compare: Path | None,
    figure: Path | None,
    paragraph: Path | None,
    bootstrap: int,
    force: bool,
    seed: int,
) -> int:
    """Score ANSWERS.tsv tables with the columns pair and choice (A, B or n/a), such as a page's readers save.

    Prints one row a reader and stratum: the share of answered pairs that are right (a tie counts
    one half), which is the area under the ROC curve, with its 95 % interval. The first column is
    the reader, not a knee.
    """
    from oatools.reading import compare as comparing
    from oatools.reading import groups as grouping
    from oatools.reading import score as scoring

    if not answers and not models:
        raise UsageError("nothing to score: give tables of answers, or --model (see --help)")
    if models and pairs_file is None:
        raise UsageError("--model needs --pairs, which says which two knees are in a pair")
    if figure is not None and figure.suffix not in (".png", ".svg"):
        raise UsageError(f"--figure {figure}: a name that ends in .png or .svg is needed")
    read = [key, *answers, *models, *([pairs_file] if pairs_file else [])]
    _refuse_outputs(
        {"--compare": compare, "--figure": figure, "--paragraph": paragraph}, read, force
    )
    solution, pairs = _key_and_pairs(console, key, pairs_file)
    graded, readers, named = _graded(console, answers, models, solution, pairs)
    groups, unknown = grouping.groups_of(solution, pairs)
    if unknown:
        console.note(
            f"of {_count(unknown, 'knee')} the patient is not known, and taken for another than all others"
        )
    shared = _say_shared(console, groups, interval)
    bounds = scoring.bounds_by(interval, bootstrap, seed)
    rows = [
        row
        for reader in graded.scores
        for row in scoring.summarise(reader, graded, solution, groups, bounds)
    ]
    for row in rows:
        if row["stratum"] == "all" and row["n_unanswered"] != "0":
            console.note(
                f"{row['reader']}: {row['n_unanswered']} of {row['pairs']} pairs without an answer"
            )
    if len(readers) > 1:
        rows += scoring.summarise_mean(readers, graded, solution, groups)
    if compare is not None or paragraph is not None:
        found = comparing.compare(graded.scores, readers, solution, groups, bootstrap, seed)
        if compare is not None:
            manifest.write_table(compare, comparing.COLUMNS, found)
        if paragraph is not None:
            from oatools.reading.paragraph import Manner
            from oatools.reading.paragraph import paragraph as in_words

            manner = Manner(interval, bootstrap, seed, shared)
            write_text(paragraph, in_words(rows, found, readers, named, manner))
    if figure is not None:
        from oatools.reading.figure import forest_figure
        from oatools.report.figures import encode

        with atomic(figure) as temporary:
            temporary.write_bytes(encode(forest_figure(rows, named, interval), figure.suffix[1:]))
    manifest.print_table(scoring.RESULT_COLUMNS, rows)
    scored = " and ".join(
        _count(len(names), noun) for noun, names in (("reader", readers), ("model", named)) if names
    )
    failed = f", {_count(len(graded.errors), 'cell')} could not be used" if graded.errors else ""
    console.note(f"{scored} scored on {_count(len(solution), 'pair')}{failed}")
    return 1 if graded.errors else 0


@subcommand(main, "power")
@click.option(
    "--model",
    type=float,
    default=0.65,
    show_default=True,
    metavar="AUC",
    help="What the model reaches.",
)
@click.option(
    "--reader",
    type=float,
    default=0.587,
    show_default=True,
    metavar="AUC",
    help="What a reader reaches.",
)
@click.option(
    "--readers",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    metavar="N",
    help="How many read all pairs; the model is held against their mean.",
)
@click.option(
    "--correlation",
    type=float,
    default=0.3,
    show_default=True,
    metavar="R",
    help="How far pairs that are easy for one judge are so for another: 0 to less than 1.",
)
@click.option(
    "--power",
    "wanted",
    type=float,
    default=0.8,
    show_default=True,
    metavar="P",
    help="The chance to find the difference, for which pairs are sought.",
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
    help="Say the power of so many pairs instead; repeatable.",
)
@click.option(
    "--draws",
    type=click.IntRange(100),
    default=4000,
    show_default=True,
    metavar="N",
    help="Simulated studies.",
)
@seed_option
def power(
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
    """Say how many pairs it takes to tell a model from its readers, by simulation.

    The defaults are the paper's AUCs: 0.65 of the model, 0.587 of its readers, who read 150 pairs.
    """
    from oatools.reading import power as planning

    study = planning.Study(model, reader, readers, correlation, alpha)
    sizes = counts or (planning.pairs_needed(study, wanted, draws, seed),)
    manifest.print_table(
        planning.COLUMNS, [planning.power_row(study, n, draws, seed) for n in sizes]
    )
    if not counts:
        console.note(
            f"{sizes[0]} pairs for a power of {wanted:g}, from {draws} simulated studies a size"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _refuse_outputs(outputs: dict[str, Path | None], inputs: Sequence[str], force: bool) -> None:
    """A `UsageError` for an output (option -> file) that is no plain file, is an input or another output, or exists."""
    taken = {Path(path).resolve(): f"{path} is also read" for path in inputs if path != "-"}
    for option, path in outputs.items():
        if path is None:
            continue
        if str(path) == "-" or (path.exists() and not path.is_file()):
            raise UsageError(
                f"{option} {path}: a plain file is needed; standard output has the table"
            )
        if path.resolve() in taken:
            raise UsageError(f"{option} {path}: {taken[path.resolve()]}; give it another name")
        taken[path.resolve()] = f"{option} writes {path}, too"
        if path.exists() and not force:
            raise UsageError(f"{option} {path} exists; use --force to replace it, or another name")


def _key_and_pairs(
    console: Console, key: str, pairs_file: str | None
) -> tuple[dict[str, Row], dict | None]:
    """The key, of the pairs that were read if these are given, and the pairs."""
    from oatools.reading import score as scoring

    solution = scoring.read_key(manifest.read_table(key, ["knee", "pair", "place"]).rows)
    if pairs_file is None:
        return solution, None
    pairs = scoring.read_pairs(
        manifest.read_table(pairs_file, ["knee", "pair", "place"]).rows, solution
    )
    if len(pairs) < len(solution):
        console.note(
            f"{len(solution) - len(pairs)} of {_count(len(solution), 'pair')} of the key are not in "
            f"{pairs_file}, and not scored"
        )
    return {pair: row for pair, row in solution.items() if pair in pairs}, pairs


def _graded(
    console: Console,
    answers: Sequence[str],
    models: Sequence[str],
    solution: dict[str, Row],
    pairs: dict | None,
) -> tuple["Graded", list[str], list[str]]:
    """What readers and models answered, and the names of both; what cannot be graded is said."""
    from oatools.reading import score as scoring

    graded = scoring.Graded()
    tables = [(_reader(path), manifest.read_table(path, ["pair", "choice"])) for path in answers]
    _refuse_doubled([reader for reader, table in tables if "reader" not in table.columns])
    for reader, table in tables:
        scoring.grade_answers(table.rows, solution, reader, graded, pairs)
    readers = list(graded.scores)
    for path in models:
        predictions = manifest.read_table(path, ["knee", "probability"])
        _refuse_doubled([*graded.scores, _reader(path)])
        try:
            graded.scores[_reader(path)] = scoring.grade_model(
                predictions.rows, solution, pairs or {}
            )
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
    for name, message in graded.errors:
        console.error(f"{name}: {message}")
    if len(studies := set().union(*graded.studies.values())) > 1:
        console.note(
            f"the answers are to {len(studies)} different pages (column 'study'): readers saw other images"
        )
    return graded, readers, [name for name in graded.scores if name not in readers]


def _say_shared(console: Console, groups: dict[str, int], interval: str) -> int:
    """How many pairs share a patient with another; what that means for the intervals is said."""
    sizes = Counter(groups.values())
    shared = len(groups) - sum(n == 1 for n in sizes.values())
    if shared:
        advice = ": exact intervals take them for independent, and --interval clustered does not"
        console.note(
            f"{shared} pairs share a patient with another, and all pairs make {_count(len(sizes), 'group')} "
            f"that share none{advice if interval == 'exact' else ''}"
        )
        if len(sizes) < _FEW_GROUPS:
            console.note(
                "so few groups make intervals and p values rough; draw pairs with --one-knee"
            )
    return shared


def _volumes(argument: str) -> manifest.Table:
    """A table of volumes, or one volume, whose name says its knee and sequence."""
    return (
        manifest.read_table(argument)
        if manifest.is_table(argument)
        else manifest.read_rows([argument])
    )


def _reader(path: str) -> str:
    return "stdin" if path == "-" else Path(path).stem


def _refuse_doubled(readers: list[str]) -> None:
    for reader in readers:
        if readers.count(reader) > 1:
            raise UsageError(
                f"two tables would both be reader '{reader}'; give one another file name"
            )
