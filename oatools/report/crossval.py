"""The report of a cross-validation: tables, figures, a page that shows them, and a model card."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oatools.core.checksums import write_checksums
from oatools.core.files import write_text
from oatools.core.manifest import MISSING, Row, write_table
from oatools.core.provenance import CAUTION_COLUMN, caution_cell
from oatools.learning.cautions import report_warning
from oatools.learning.crossval import BOTH, IMAGES, fold_path
from oatools.learning.predictions import prediction_files, remove_others, write_predictions
from oatools.learning.results import METRIC_COLUMNS, CrossValidation
from oatools.learning.settings import options
from oatools.report import figures
from oatools.report.card import model_card
from oatools.report.content import CohortCounts, Report, count_folds
from oatools.report.html import Page, render
from oatools.report.methods import architecture_words, follow_up_words, methods_paragraph
from oatools.report.participants import FLOW_CAPTION, cohort_characteristics, cohort_flow
from oatools.report.parts import part_rows, parts_caption
from oatools.report.pictures import Picture, make_pictures, mark_all
from oatools.report.templates import value_text
from oatools.report.words import words_of
from oatools.report.yardstick import measurement_error


def write_report(out_dir: Path, report: Report) -> list[str]:
    """Write all of a report to `out_dir`.

    That is a table of predictions for each model, metrics.tsv, the figures (PNG and SVG),
    report.html and model-card.md; and at last the digests of all files of the cross-validation, by
    which damage is noticed. Returned are the names of those that are not there: a report may be
    written without the models that it is about.
    """
    write_predictions(out_dir, report.result, report.flow.order)
    for number, run in enumerate(report.result.repeats, start=2):
        write_predictions(out_dir / f"repeat-{number}", run)
    caution = {CAUTION_COLUMN: caution_cell(report.cautions)}
    metric_rows = [row | caution for row in report.metrics.rows()]
    write_table(out_dir / "metrics.tsv", METRIC_COLUMNS, metric_rows)
    flow = Picture("flow", cohort_flow(report).figure(), FLOW_CAPTION, wide=True)
    mark_all([flow], report.cautions)
    drawn = make_pictures(report.result, report.metrics, report.cautions)
    pictures = [flow, *drawn]
    for picture in pictures:
        figures.save_figure(picture.figure, out_dir / picture.name)
    record, words = report.result.records[0], words_of(report.result)
    page = Page(
        title=_title(record),
        lead=_lead(report.result),
        cautions=[report_warning(caution) for caution in report.cautions],
        doubts=report.doubts,
        cohort=_cohort(report),
        flow=flow,
        characteristics=[line.row(words.groups) for line in cohort_characteristics(report)],
        folds=_folds(report.result),
        parts=part_rows(report.result.records, words.area),
        parts_caption=parts_caption(report.result.records, words.area),
        words=words,
        metrics=report.metrics,
        measurement_error=measurement_error(report),
        pictures=drawn,
        settings=_settings(report),
        versions=list(record["versions"].items()),
        command=report.command,
        methods=methods_paragraph(report),
    )
    write_text(out_dir / "report.html", render(page))
    write_text(out_dir / "model-card.md", model_card(report))
    names = list(_files(report, [picture.name for picture in pictures]))
    remove_others(out_dir, names)
    missing = [name for name in names if not (out_dir / name).is_file()]
    write_checksums(out_dir, set(names) - set(missing))
    return missing


def _files(report: Report, pictures: Sequence[str]) -> Iterator[str]:
    """Yield all files of a cross-validation, by their names in its folder."""
    yield from ("folds.tsv", "metrics.tsv", "report.html", "model-card.md")
    predictions = list(prediction_files(report.result).values())
    yield from predictions
    for name in pictures:
        yield from (f"{name}.png", f"{name}.svg")
    result = report.result
    own = [""]
    if BOTH in result.models and IMAGES in result.models:
        own.append("images/")
    folders = list(own)
    for number in range(2, len(result.runs) + 1):
        folder = f"repeat-{number}/"
        folders += [f"{folder}{each}" for each in own]
        yield from (f"{folder}{table}" for table in ("folds.tsv", *predictions))
    for folder in folders:
        yield from (f"{folder}{fold_path(Path(), n)}" for n in range(1, result.folds + 1))
    if len(result.null):
        yield "null.tsv"
    if result.left_out:
        yield "left-out.tsv"


def _title(record: Mapping[str, Any]) -> str:
    endpoint = record.get("endpoint")
    return f"Cross-validation: {endpoint}" if endpoint else "Cross-validation"


def _lead(result: CrossValidation) -> str:
    """Return two sentences: what is learnt from, and how the knees are divided."""
    record = result.records[0]
    sources = ["images"]
    if result.cohort.clinical_names:
        sources = [f"images and {', '.join(result.cohort.clinical_names)}"]
    sources += [name for name in record.get("sequences", []) if name != MISSING]
    return f"{architecture_words(record['settings'])}: {', '.join(sources)}. {_division(result)}."


def _division(result: CrossValidation) -> str:
    tested = int(result.tested.sum())
    if result.left_out:
        return (
            f"{len(result.records)} folds, one a {result.left_out}; every knee is scored by the "
            f"model that has not seen its {result.left_out}"
        )
    if tested < len(result.cohort):
        return f"{tested} knees held out, {len(result.cohort) - tested} trained on"
    unit = "knee" if result.leaky else "patient"
    return (
        f"{len(result.records)} folds by {unit}, stratified by {words_of(result).outcome}; every "
        f"knee is scored by the model that has not seen this {unit}"
    )


def _cohort(report: Report) -> list[tuple[str, str]]:
    """Return names and values for the section on the cohort."""
    data, flow, words = report.result.cohort, report.flow, words_of(report.result)
    counts = CohortCounts.of(data)
    pairs = [
        ("knees", str(counts.knees)),
        ("patients", str(counts.patients)),
        (f"knees {words.positive}", _share(counts.positive, counts.knees)),
    ]
    if data.follow_up is not None:
        pairs.append(("follow-up", follow_up_words(data.follow_up)))
    for sequence, (fewest, most) in counts.slices.items():
        name = f"slices a knee, {sequence}" if sequence else "slices a knee"
        slices = str(most) if fewest == most else f"{fewest} to {most}"
        pairs.append((name, slices))
    pairs.append(("features a slice", str(counts.channels)))
    lacking = f" (of which {flow.incomplete} lack a sequence)" if flow.incomplete else ""
    left_out = (
        f"{flow.without_features} knees with a label but no features{lacking}, "
        f"{flow.without_label} with features but no label, "
        f"{len(flow.failed)} with unusable features"
    )
    pairs.append(("left out", left_out))
    pairs += [(f"{name} missing", f"{knees} knees") for name, knees in counts.clinical.items()]
    for name, value in data.space.items():
        pairs.append((f"features: {name.replace('_', ' ')}", value_text(value)))
    return pairs


def _folds(result: CrossValidation) -> list[Row]:
    """Return the rows of the table of folds."""
    rows, words = [], words_of(result)
    for fold, record in zip(count_folds(result), result.records, strict=True):
        row = {
            "fold": str(fold.number),
            "knees": str(fold.knees),
            "patients": str(fold.patients),
            words.positive: _share(fold.positive, fold.knees),
            "patients also trained on": str(fold.shared),
            "trained on": f"{len(record['training_knees'])} knees",
            "set aside": _set_aside(record),
            "best epoch": f"{record['best_epoch']} of {record['epochs']}",
            f"{words.area} on those set aside": f"{record['validation_roc_auc']:.3f}",
        }
        if result.cohort.follow_up is None:
            row["threshold"] = f"{record['threshold']:.3f}"
        rows.append(row)
    return rows


def _set_aside(record: Mapping[str, Any]) -> str:
    if record["settings"]["inner"] == "rotate":
        return "each part in turn"
    return f"{len(record['validation_knees'])} knees"


def _settings(report: Report) -> list[tuple[str, str]]:
    """Return names and values for the section on settings."""
    record = report.result.records[0]
    settings = dict(record["settings"])
    settings.pop("threshold_rule")  # the record says it in words
    settings |= {
        "threshold rule": record["threshold_rule"],
        "seed": report.seed,
        "repeats": len(report.result.runs),
    }
    described = options()
    pairs = []
    for name, value in settings.items():
        text = "all" if value is None else value_text(value)
        if name in described:
            text += f" – {described[name].help}"
        pairs.append((name.replace("_", " "), text))
    return pairs


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)"
