"""oa-enrich: what a trial gains that enrols the knees of highest risk."""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.core.cli import command
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
    time_option,
)
from oatools.core.words import counted

if TYPE_CHECKING:
    from oatools.scored.knees import ScoredKnees
    from oatools.scored.rules import Rule
    from oatools.trial.decision import Decision
    from oatools.trial.enrichment import Enrichment

_SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


@command(
    "oa-enrich",
    examples=(
        Example(
            "What each share of the knees at highest risk would do for a trial",
            "oa-enrich cv/predictions.tsv --labels labels.tsv > enrich.tsv",
        ),
        Example(
            "Against enrolling by grade, and against a model of clinical variables, with a "
            "figure and a paragraph",
            "oa-enrich cv/predictions.tsv --labels labels.tsv --against kl=2:3 --against "
            "cv/predictions-clinical.tsv --figure enrich.svg --paragraph enrich.txt > enrich.tsv",
        ),
    ),
    status="0: all done; 1: a file cannot be read or written; 2: unusable call or table, nothing "
    "done.",
)
@argument(
    "predictions",
    "Table of predictions, of oa-cv, oa-predict or another program: columns knee and probability, "
    "maybe subject, label and fold.",
    metavar="PREDICTIONS.tsv",
)
@heading("Candidates")
@click.option(
    "--labels",
    metavar="TABLE.tsv",
    help="Labels and clinical variables by knee (default: columns of the predictions).",
)
@time_option("Ask whether it had happened within so many months")
@click.option(
    "--eligible",
    metavar="RULE",
    help="Take only knees in this rule for candidates, such as kl=2:3,age=50:.",
)
@click.option(
    "--change",
    metavar="COLUMN",
    help="Compare the arms by the mean of this column, such as jsn, and not by the share of "
    "events.",
)
@heading("What is compared with all comers")
@click.option(
    "--share",
    "shares",
    type=float,
    multiple=True,
    metavar="P",
    help="Enrol this share of the highest probabilities; repeatable (default: 0.9 to 0.1).",
)
@click.option(
    "--against",
    multiple=True,
    metavar="RULE|FILE",
    help="Enrol by a rule on columns, such as kl=2:3 or jsw=2:4.5, or by other predictions of the "
    "same knees, and compare; repeatable.",
)
@heading("The trial")
@click.option(
    "--effect",
    type=float,
    default=0.3,
    show_default=True,
    metavar="P",
    help="Share of events, or of the mean change, that treatment prevents.",
)
@click.option(
    "--power", type=float, default=0.8, show_default=True, metavar="P", help="Power of its test."
)
@click.option(
    "--alpha",
    type=float,
    default=0.05,
    show_default=True,
    metavar="P",
    help="Level of its two-sided test.",
)
@click.option(
    "--dropout",
    type=float,
    default=0.0,
    show_default=True,
    metavar="P",
    help="Share of randomised patients who are lost.",
)
@heading("Costs")
@click.option(
    "--cost-screen", type=float, metavar="COST", help="Cost of scoring one candidate: its scan."
)
@click.option(
    "--cost-rule",
    type=float,
    metavar="COST",
    help="Cost of telling whether one candidate is in a rule: its radiograph.",
)
@click.option("--cost-patient", type=float, metavar="COST", help="Cost of one randomised patient.")
@heading("Output")
@file_option(
    "--compare",
    "Write the differences from each rule and other model, at the same share, to this table.",
)
@file_option("--decision", "Write the decision curves to this table.")
@figure_option("event rates, patients, costs and net benefit")
@file_option("--paragraph", "Write the result and what was assumed in sentences.")
@partial(force_option, help="Replace existing files.")
@heading("Statistics")
@bootstrap_option("of patients for the intervals")
@seed_option
def main(
    console: Console,
    predictions: str,
    labels: str | None,
    at: float | None,
    eligible: str | None,
    change: str | None,
    shares: tuple[float, ...],
    against: tuple[str, ...],
    effect: float,
    power: float,
    alpha: float,
    dropout: float,
    cost_screen: float | None,
    cost_rule: float | None,
    cost_patient: float | None,
    compare: Path | None,
    decision: Path | None,
    figure: Path | None,
    paragraph: Path | None,
    bootstrap: int,
    force: bool,
    seed: int,
) -> None:
    """Work out what a trial gains that enrols the knees of highest risk.

    Prints one row for all comers, and one for each share of the knees that the predictions rank
    highest: the event rate, patients that the trial needs, and candidates to screen for them, with
    95 % intervals by patient. Predictions of a cross-validation are ranked within each fold.
    """
    from oatools.scored.knees import read_scored
    from oatools.scored.rules import parse_rule
    from oatools.trial.decision import decision_curve
    from oatools.trial.enrichment import Trial, enrich
    from oatools.trial.tables import (
        COMPARISON_COLUMNS,
        DECISION_COLUMNS,
        ENRICHMENT_COLUMNS,
        comparison_rows,
        decision_rows,
        enrichment_rows,
    )

    trial = Trial(effect, power, alpha, dropout, cost_screen, cost_rule, cost_patient)
    name, rules, tables = _comparators(against, predictions)
    outputs = {
        "--compare": compare,
        "--decision": decision,
        "--figure": figure,
        "--paragraph": paragraph,
    }
    inputs = [path for path in (predictions, labels, *tables.values()) if path not in (None, "-")]
    check_outputs(outputs, inputs, force=True)  # what is there may be what is written
    only = parse_rule(eligible) if eligible is not None else None

    candidates = read_scored(
        predictions,
        labels,
        tables,
        rules if only is None else [*rules, only],
        change,
        name=name,
        at=at,
    )
    _say_left_out(console, candidates, rules)
    if only is not None:
        candidates = _eligible(console, candidates, only)
    found = enrich(candidates, trial, shares or _SHARES, rules, bootstrap, seed)
    curve: list[Decision] = []
    if decision is not None or figure is not None:
        curve = decision_curve(candidates, draws=bootstrap, seed=seed)
    made: dict[str, tuple[Path, bytes]] = {}
    if compare is not None:
        made["--compare"] = compare, table_bytes(COMPARISON_COLUMNS, comparison_rows(found))
    if decision is not None:
        made["--decision"] = decision, table_bytes(DECISION_COLUMNS, decision_rows(found, curve))
    if paragraph is not None:
        made["--paragraph"] = paragraph, _paragraph(found).encode()
    if figure is not None:
        made["--figure"] = figure, _figure(figure.suffix[1:], found, curve)
    write_outputs(made, force)
    print_table(ENRICHMENT_COLUMNS, enrichment_rows(found))
    withheld = sum(bool(outcome.reason) for outcome in found.outcomes)
    if withheld:
        console.note(f"the numbers of {counted(withheld, 'row')} are withheld (column reason)")


def _comparators(
    against: tuple[str, ...], predictions: str
) -> "tuple[str, list[Rule], dict[str, str]]":
    """Tell rules from tables of predictions; return the name of the first, and the others'."""
    from oatools.scored.knees import name_tables
    from oatools.scored.rules import is_rule, parse_rule

    rules: list[Rule] = []
    tables: list[str] = []
    for text in against:
        if is_rule(text) and not Path(text).exists():
            rule = parse_rule(text)
            if rule in rules:
                raise UsageError(f"--against {text} is there twice", "give it once")
            rules.append(rule)
            continue
        if not re.search(r"[/.]", text) and not Path(text).exists():
            raise UsageError(
                f"--against {text} is no file, and no rule", "write a rule as kl=2:3, kl=2: or kl=3"
            )
        tables.append(text)
    name, named = name_tables(predictions, tables, taken=("all",))
    return name, rules, named


def _say_left_out(console: Console, candidates: "ScoredKnees", rules: "list[Rule]") -> None:
    from oatools.scored.knees import remarks

    for remark in remarks(candidates):
        console.note(remark)
    for rule in rules:
        unknown = rule.unknown(candidates.columns)
        if unknown:
            console.note(
                f"{rule.text}: of {counted(unknown, 'knee')} a value is missing, and none of them "
                "is in the rule"
            )


def _eligible(console: Console, candidates: "ScoredKnees", rule: "Rule") -> "ScoredKnees":
    chosen = rule.keeps(candidates.columns)
    if not chosen.any():
        raise UsageError(f"no knee is in the rule {rule.text}", "widen it")
    console.note(f"{int(chosen.sum())} of {counted(len(candidates), 'knee')} are in {rule.text}")
    return candidates.take(chosen)


def _paragraph(found: "Enrichment") -> str:
    from oatools.trial.paragraph import describe_enrichment

    return describe_enrichment(found)


def _figure(kind: str, found: "Enrichment", curve: "list[Decision]") -> bytes:
    from oatools.report.figures import encode_marked
    from oatools.trial.figure import enrichment_figure

    return encode_marked(enrichment_figure(found, curve), kind, found.candidates.cautions)
