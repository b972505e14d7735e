"""What a cross-validation leaves behind: tables, figures, and the report that shows them together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oatools.core.files import write_text
from oatools.core.manifest import MISSING, Row, write_table
from oatools.learning.baseline import LOGISTIC
from oatools.learning.cohort import Cohort, Flow
from oatools.learning.crossval import METRIC_COLUMNS, PREDICTION_COLUMNS, CrossValidation
from oatools.report import figures
from oatools.report.card import model_card
from oatools.report.html import Picture, Report, render

POOLINGS = {
    "gru": "attention (convolution, GRU)",
    "attention": "attention",
    "gated": "gated attention",
    "mean": "their mean",
    "max": "their maximum",
    "transformer": "a transformer",
}
CAUTIONS = {
    "random weights": "RANDOM WEIGHTS: the backbone was not trained. These numbers show that the pipeline runs, "
    "and nothing about patients.",
    "phantoms": "PHANTOMS: the images are synthetic. These numbers show that the pipeline runs, "
    "and nothing about patients.",
}


def write_report(
    out_dir: Path,
    data: Cohort,
    flow: Flow,
    result: CrossValidation,
    predictions: Sequence[Row],
    metrics: Sequence[Row],
    cautions: Sequence[str],
    command: str,
    run: Mapping[str, Any],
) -> None:
    """Write predictions.tsv, metrics.tsv, the figures (PNG and SVG), report.html and model-card.md to `out_dir`."""
    write_table(out_dir / "predictions.tsv", PREDICTION_COLUMNS, predictions)
    write_table(out_dir / "metrics.tsv", METRIC_COLUMNS, metrics)
    warnings = [CAUTIONS.get(c, f"LEAKY SPLIT: {c}.") for c in cautions]
    pictures = make_pictures(
        data, result, metrics, [w.split(":")[0].capitalize() for w in warnings]
    )
    for picture in pictures:
        figures.save_figure(picture.figure, out_dir / picture.name)
    record = result.records[0]
    report = Report(
        title="Cross-validation" + (f": {record['endpoint']}" if record.get("endpoint") else ""),
        lead=_lead(data, result),
        cautions=warnings,
        cohort=_cohort(data, flow),
        folds=_folds(data, result),
        metrics=metrics,
        pictures=pictures,
        settings=_settings(record, run),
        versions=list(record["versions"].items()),
        command=command,
    )
    write_text(out_dir / "report.html", render(report))
    write_text(
        out_dir / "model-card.md", model_card(data, flow, result, metrics, warnings, command, run)
    )


def make_pictures(
    data: Cohort, result: CrossValidation, metrics: Sequence[Row], marks: Sequence[str] = ()
) -> list[Picture]:
    """The figures of the report; `marks` are cautions written on each, so that they travel with it."""
    at = result.tested
    label, fold, scored = data.label[at], result.fold[at], result.first
    probability = scored.probability[at]
    others = {name: s.probability[at] for name, s in list(result.models.items())[1:]}
    known = {name: p for name, p in others.items() if name == LOGISTIC}
    beside = " Broken lines: what it is held against, in the same folds." if others else ""
    areas = [
        (r["model"], *(float(r[c]) for c in ("value", "ci_low", "ci_high")))
        for r in metrics
        if r["scope"] == "pooled" and r["metric"] == "roc_auc"
    ]
    pictures = [
        Picture(
            "comparison",
            figures.comparison_figure(areas, result.null),
            "ROC AUC over all held-out knees with the 95 % interval, all models in the same folds."
            + (
                " Below: the model's (line) among those of permuted labels."
                if len(result.null)
                else ""
            ),
            wide=True,
        ),
        Picture(
            "roc",
            figures.roc_figure(label, probability, fold, others),
            "ROC. Thin: each held-out fold; thick: their mean; ± is the SD over folds." + beside,
        ),
        Picture(
            "pr",
            figures.pr_figure(label, probability, fold, others),
            "Precision and recall. Thin: each held-out fold; thick: their mean. No skill gives the "
            "prevalence." + beside,
        ),
        Picture(
            "calibration",
            figures.calibration_figure(label, result.name, probability, known),
            "Calibration over all held-out knees, in bins of equal size; below, how the probabilities of the "
            "model with images are spread.",
        ),
        *attention_pictures(data, result),
        Picture(
            "confusion",
            figures.confusion_figure(label, scored.predicted[at], fold),
            "Confusion at each fold's own threshold, chosen on validation patients of its training folds. Shade: "
            "share of the row.",
            wide=True,
        ),
    ]
    for picture in pictures:
        if marks:
            figures.mark(picture.figure, ", ".join(marks))
    return pictures


def attention_pictures(data: Cohort, result: CrossValidation) -> list[Picture]:
    """One picture, or one a sequence where several are joined."""
    at, out = np.flatnonzero(result.tested), []
    for number, name in enumerate(data.joined or ("",)):
        ends = data.extents[at].cumsum(axis=1)[:, number]
        parts = [
            result.attention[i][end - n : end]
            for i, end, n in zip(at, ends, data.extents[at, number], strict=True)
        ]
        out.append(
            Picture(
                f"attention-{name}" if name else "attention",
                figures.attention_figure(parts, data.label[at]),
                f"Attention by slice{f' of {name}' if name else ''} on held-out knees: mean and "
                "interquartile range.",
            )
        )
    return out


def _lead(data: Cohort, result: CrossValidation) -> str:
    folds = len(result.records)
    unit = "knee" if result.leaky else "patient"
    what = "images" if not data.clinical_names else f"images and {', '.join(data.clinical_names)}"
    sequences = ", ".join(s for s in result.records[0].get("sequences", []) if s != MISSING)
    pooling = result.records[0]["settings"]["pooling"]
    how = (
        f"{folds} folds by {unit}, stratified by label; every knee is scored by the model that has not seen this "
        f"{unit}"
        if result.tested.all()
        else f"{int(result.tested.sum())} knees held out, {int((~result.tested).sum())} trained on"
    )
    return f"Slices pooled by {POOLINGS[pooling]}, {what}{f', {sequences}' if sequences else ''}. {how}."


def _cohort(data: Cohort, flow: Flow) -> list[tuple[str, str]]:
    positives = int(data.label.sum())
    pairs = [
        ("knees", str(len(data))),
        ("patients", str(len(set(data.subject)))),
        ("positive knees", f"{positives} ({100 * positives / len(data):.1f} %)"),
        *[
            (f"slices a knee{f', {name}' if name else ''}", _range(data.extents[:, number]))
            for number, name in enumerate(data.joined or ("",))
        ],
        ("features a slice", str(data.features.shape[2])),
    ]
    lacking = f" (of which {flow.incomplete} lack a sequence)" if flow.incomplete else ""
    pairs += [
        (
            "left out",
            f"{flow.without_features} knees with a label but no features{lacking}, {flow.without_label} "
            f"with features but no label, {len(flow.failed)} with unusable features",
        )
    ]
    missing = np.isnan(data.clinical).sum(axis=0)
    pairs += [
        (f"{n} missing", f"{m} knees") for n, m in zip(data.clinical_names, missing, strict=True)
    ]
    return pairs + [(f"features: {k.replace('_', ' ')}", _text(v)) for k, v in data.space.items()]


def _folds(data: Cohort, result: CrossValidation) -> list[Row]:
    rows = []
    for number, record in enumerate(result.records, start=1):
        at = result.fold == number
        patients = {s for s, a in zip(data.subject, at, strict=True) if a}
        others = {s for s, a in zip(data.subject, at, strict=True) if not a}
        rows.append(
            {
                "fold": str(number),
                "knees": str(at.sum()),
                "patients": str(len(patients)),
                "positive": f"{data.label[at].sum()} ({100 * data.label[at].mean():.1f} %)",
                "patients also trained on": str(len(patients & others)),
                "trained on": f"{len(record['training_knees'])} knees",
                "validated on": f"{len(record['validation_knees'])} knees",
                "best epoch": f"{record['best_epoch']} of {record['epochs']}",
                "validation AUC": f"{record['validation_roc_auc']:.3f}",
                "threshold": f"{record['threshold']:.3f}",
            }
        )
    return rows


def _settings(record: Mapping[str, Any], run: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = {**record["settings"], "threshold rule": record["threshold_rule"], **run}
    pairs.pop("threshold_rule")
    return [(k.replace("_", " "), "all" if v is None else _text(v)) for k, v in pairs.items()]


def _range(values: np.ndarray) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return MISSING if value is None else str(value)
