"""The model card of a cross-validation, with the items of TRIPOD+AI (Collins et al., BMJ 2024) software can answer.

The others are listed as left to the author: a card that is silent about them would look complete.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oatools.core.manifest import MISSING, Row
from oatools.learning.cohort import Cohort, Flow
from oatools.learning.crossval import CrossValidation, headlines

AUTHOR = "left to the author"


def model_card(
    data: Cohort, flow: Flow, result: CrossValidation, metrics: Sequence[Row], cautions: Sequence[str], command: str,
    run: Mapping[str, Any],
) -> str:  # fmt: skip
    """The card as Markdown; `cautions` are sentences, and stand first."""
    record = result.records[0]
    endpoint = record.get("endpoint") or "not named"
    lines = [f"# Model card: {endpoint}", ""]
    lines += [line for caution in cautions for line in (f"> **{caution}**", "")]
    lines += ["## Performance", "",
              "Out of fold; every model in the same folds. No threshold, scaling, epoch or imputation saw a test fold.",
              "", *(f"- {line}" for line in headlines(metrics)), "", "## Run again", "", f"    {command}", "",
              "## TRIPOD+AI", "", "| item | answer |", "| --- | --- |"]  # fmt: skip
    answers = tripod(data, flow, result, metrics, run)
    lines += [f"| {item} | {_cell(answer)} |" for item, answer in answers]
    return "\n".join(lines) + "\n"


def tripod(
    data: Cohort,
    flow: Flow,
    result: CrossValidation,
    metrics: Sequence[Row],
    run: Mapping[str, Any],
) -> list[tuple[str, str]]:
    """Item and answer, in the checklist's order."""
    record = result.records[0]
    settings, space = record["settings"], data.space
    positives, patients = int(data.label.sum()), len(set(data.subject))
    missing = {
        n: int(m)
        for n, m in zip(data.clinical_names, np.isnan(data.clinical).sum(axis=0), strict=True)
        if m
    }
    clinical = ", ".join(data.clinical_names) or "none"
    tuned = "tried" in record
    unit = "knees (leaky, for comparison only)" if result.leaky else "patients"
    tested = int(result.tested.sum())
    divided = f"{tested} knees held out, {len(data) - tested} to train on"
    if tested == len(data):
        divided = f"{len(result.records)} folds of {unit}, stratified by label"
    sequences = (" joined with " if data.joined else ", ").join(
        record.get("sequences") or [MISSING]
    )
    how = f"chosen among {len(record['tried'])} by" if tuned else "fixed beforehand, epoch by"
    pooled = {
        r["metric"]: r for r in metrics if r["model"] == result.name and r["scope"] == "pooled"
    }
    area = pooled["roc_auc"]
    return [
        ("1, 2 title and abstract", AUTHOR),
        ("3, 4 background and objectives", AUTHOR),
        ("5 data: source and dates", AUTHOR),
        ("6 participants: setting, eligibility, treatments",
         f"{AUTHOR}; knees left out: {flow.without_features} without features, {flow.without_label} without label, "
         f"{len(flow.failed)} with unusable features"),
        ("7 data preparation",
         "features: " + ", ".join(f"{k} {v}" for k, v in space.items() if k != "preprocessing")
         + "; standardised on the training knees of each fold"),
        ("8 outcome", f"{record.get('endpoint') or MISSING}; blinding is {AUTHOR}"),
        ("9 predictors", f"{data.features.shape[2]} features a slice of {sequences}; clinical: {clinical}"),
        ("10 sample size", f"{len(data)} knees of {patients} patients, {positives} positive; why so many is {AUTHOR}"),
        ("11 missing data", "imputed by the median of the training knees of each fold; "
         + (", ".join(f"{n} in {m} knees" for n, m in missing.items()) or "none were missing")),
        ("12a division of the data", f"{divided}; no patient on both sides, verified"
         if not result.leaky else divided),
        ("12b handling of predictors", "continuous ones linear after standardisation; sex 0 female, 1 male"),
        ("12c model and its building", f"slices pooled by {settings['pooling']}, perceptron; settings {how} the "
         f"loss on {settings['validation']:.0%} of the training patients"),
        ("12d heterogeneity between clusters", f"{AUTHOR} (see --stratify and --hold-out)"),
        ("12e performance measures", "ROC AUC, PR AUC, F1, precision, recall, specificity, Brier score, calibration "
         f"slope and intercept; 95 % intervals from {run.get('bootstrap draws', MISSING)} draws of patients"),
        ("12f updating", "none"),
        ("12g how predictions are calculated", "each knee by the model of the fold that it was not in"),
        ("13 class imbalance", "classes weighed by inverse frequency in training, probabilities moved back to the "
         "training prevalence" if settings["balanced"] else "none"),
        ("14 fairness", AUTHOR),
        ("15 output", f"a probability; called positive from a threshold by {record['threshold_rule']}"),
        ("16 training against evaluation data", "held out of the same tables" if result.tested.all()
         else "another group of the same tables"),
        ("17 to 19 ethics, funding, protocol, data, involvement", f"{AUTHOR}; code: oatools "
         f"{record['versions']['oatools']}"),
        ("20 participants: flow and characteristics", f"see report.html; {AUTHOR}"),
        ("21 numbers in each analysis", "; ".join(
            f"fold {n}: {int((result.fold == n).sum())} knees, {int(data.label[result.fold == n].sum())} positive"
            for n in range(1, len(result.records) + 1))),
        ("22 model specification", "fold-N.safetensors: weights, scaling, imputation and threshold, readable without "
         "executing anything"),
        ("23 performance", f"ROC AUC {float(area['value']):.3f} [{float(area['ci_low']):.3f}, "
         f"{float(area['ci_high']):.3f}]; all in metrics.tsv"),
        ("24 results of updating", "none"),
        ("25 to 27 interpretation, limitations, usability", AUTHOR),
    ]  # fmt: skip


def _cell(text: str) -> str:
    """Text as it may stand in a table of Markdown."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
