"""The model card of a cross-validation, with the items of TRIPOD+AI that software can answer.

The items are those of Collins et al., BMJ 2024. Those that software cannot answer are listed as
left to the author: a card that is silent about them would look complete.
"""

from collections.abc import Mapping
from typing import Any

from oatools.core.manifest import MISSING
from oatools.learning.cautions import report_warning
from oatools.learning.results import MEAN, CrossValidation, basis, headlines, month_text
from oatools.report.characteristics import caption
from oatools.report.content import CohortCounts, Report, count_folds
from oatools.report.methods import methods_paragraph
from oatools.report.participants import cohort_characteristics, cohort_flow
from oatools.report.templates import code_line, interval_text, render_markdown, value_text
from oatools.report.words import words_of
from oatools.report.yardstick import measurement_error


def model_card(report: Report) -> str:
    """Return the card as Markdown; the cautions stand first."""
    result = report.result
    data, record, words = result.cohort, result.records[0], words_of(result)
    cohort = CohortCounts.of(data)
    return render_markdown(
        "model-card.md.j2",
        missing=MISSING,
        endpoint=record.get("endpoint"),
        cautions=[report_warning(caution) for caution in report.cautions],
        headlines=headlines(report.metrics),
        methods=methods_paragraph(report),
        command=code_line(report.command),
        doubts=report.doubts,
        measurement_error=measurement_error(report),
        flow=cohort_flow(report).lines(),
        characteristics=[line.row(words.groups) for line in cohort_characteristics(report)],
        characteristics_caption=caption(words.groups),
        left_out=report.flow,
        is_labelling_known=report.labelling is not None,
        cohort=cohort,
        folds=count_folds(result),
        features=_features(data.space),
        sequences=_sequences(result),
        imputed=_imputed(cohort),
        division=_division(result),
        leaky=result.leaky,
        left_out_column=result.left_out,
        all_tested=bool(result.tested.all()),
        settings=record["settings"],
        architecture=record["architecture"],
        chosen=_chosen(record),
        threshold_rule=record["threshold_rule"],
        area=interval_text(report.metrics.get(result.name, MEAN, report.metrics.main)),
        words=words,
        times=", ".join(month_text(months) for months in result.at),
        basis=basis(report.metrics, result.name),
        version=record["versions"]["oatools"],
    )


def _features(space: Mapping[str, Any]) -> str:
    """Return the origin of the features, without the details of their preprocessing."""
    shown = {name: value for name, value in space.items() if name != "preprocessing"}
    return value_text(shown)


def _sequences(result: CrossValidation) -> str:
    separator = " joined with " if result.cohort.joined else ", "
    return separator.join(result.records[0].get("sequences") or [MISSING])


def _imputed(cohort: CohortCounts) -> str:
    parts = [f"{name} in {knees} knees" for name, knees in cohort.clinical.items() if knees]
    return ", ".join(parts)


def _division(result: CrossValidation) -> str:
    tested, knees = int(result.tested.sum()), len(result.cohort)
    if result.left_out:
        return f"{len(result.records)} folds, one a {result.left_out}"
    if tested < knees:
        return f"{tested} knees held out, {knees - tested} to train on"
    unit = "knees (leaky, for comparison only)" if result.leaky else "patients"
    return f"{len(result.records)} folds of {unit}, stratified by {words_of(result).outcome}"


def _chosen(record: Mapping[str, Any]) -> str:
    """Return how the settings were found; the words end in "by", before the loss."""
    if "tried" in record:
        return f"chosen among {len(record['tried'])} by"
    return "fixed beforehand, epoch by"
