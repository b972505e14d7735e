"""The report of a cross-validation: one HTML page that needs nothing beside it, on screen or on paper."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.figure import Figure

from oatools.core.manifest import MISSING, Row
from oatools.report.figures import encode

CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
.lead { color: #444; margin-top: 0; }
.caution { border: 3px solid #D55E00; background: #fff4ec; padding: .7rem 1rem; font-weight: 600; margin: 1rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; margin: .5rem 0; }
th, td { padding: .2rem .55rem; text-align: right; border-bottom: 1px solid #e4e4e4; }
td { white-space: nowrap; }
th { vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #888; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; flex: 1 1 20rem; min-width: 0; break-inside: avoid; } figure.wide { flex-basis: 100%; }
figure img { max-width: 100%; height: auto; } figcaption { font-size: .85rem; color: #444; max-width: 38rem; }
pre { background: #f5f5f5; padding: .7rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
@media print {
  body { max-width: none; margin: 0; font-size: 10pt; }
  h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; }
  table { break-inside: avoid; font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; }
}
"""
NAMES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC (average precision)",
    "prevalence": "prevalence (no-skill PR AUC)",
    "f1": "F1",
    "f1_weighted": "weighted F1",
    "brier": "Brier score",
    "p": "p (share of the null that reaches it)",
    "calibration_slope": "calibration slope (1 is right)",
    "calibration_intercept": "calibration intercept (0)",
    "tn": "true negatives",
    "fp": "false positives",
    "fn": "false negatives",
    "tp": "true positives",
}


@dataclass(frozen=True)
class Picture:
    """A figure of the report, its caption, and whether it takes the page's width."""

    name: str
    figure: Figure
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Report:
    """What the page says; every text is escaped. `cohort`, `settings` and `versions` are name and value."""

    title: str
    lead: str
    cautions: Sequence[str]
    cohort: Sequence[tuple[str, str]]
    folds: Sequence[Row]
    metrics: Sequence[Row]
    pictures: Sequence[Picture]
    settings: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, str]]
    command: str


def render(report: Report) -> str:
    """The page as HTML; the same report gives the same text."""
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="lead">{escape(report.lead)}</p>',
        *(f'<p class="caution" role="note">{escape(c)}</p>' for c in report.cautions),
        "<h2>Cohort</h2>",
        _pairs(report.cohort),
        "<h2>Folds</h2>",
        _table(report.folds),
        "<h2>Metrics</h2>",
        "<p>Two summaries that need not agree: the mean over folds (with its SD), and "
        "all held-out knees pooled, with a 95 % interval from drawing patients with replacement. Read PR AUC against "
        "the prevalence, which is what no skill gives.</p>",
        *_metrics(report.metrics),
        "<h2>Figures</h2>",
        '<div class="figures">',
        *(_picture(p) for p in report.pictures),
        "</div>",
        "<h2>Settings</h2>",
        _pairs(report.settings),
        "<h2>Versions</h2>",
        _pairs(report.versions),
        "<h2>To run it again</h2>",
        f"<pre>{escape(report.command)}</pre>",
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(report.title)}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


#: What models are put side by side by: as much as fits a page.
SUMMARY = ("roc_auc", "pr_auc", "brier", "calibration_slope")


def _metrics(rows: Sequence[Row]) -> list[str]:
    """All models side by side, the differences between them, and everything about the first one."""
    cell = {(r["model"], r["scope"], r["metric"]): r for r in rows}
    models = list(dict.fromkeys(row["model"] for row in rows if row["scope"] == "pooled"))
    metrics = list(dict.fromkeys(row["metric"] for row in rows if row["scope"] == "pooled"))
    lines: list[Row] = []
    for model in models:
        line = {
            "model": model,
            f"{_name('roc_auc')}, mean ± SD of folds": _spread(cell, model, "roc_auc"),
        }
        line |= {
            f"{_name(m)}, pooled": _bracketed(cell.get((model, "pooled", m), {}))
            for m in SUMMARY
            if m in metrics
        }
        lines.append(line)
    parts = [_table(lines)]
    apart: dict[str, Row] = {}
    for row in rows:
        if row["scope"] == "difference":
            apart.setdefault(row["model"], {"difference": row["model"]})[_name(row["metric"])] = (
                _bracketed(row)
            )
    if apart:
        parts += [
            "<h3>Differences</h3>",
            "<p>Pooled, with 95 % intervals of the same draws of patients. An interval "
            "with 0 inside shows no difference; a Brier score is better the lower it is.</p>",
            _table(list(apart.values())),
        ]
    null = {m: row for (_, scope, m), row in cell.items() if scope == "permuted labels"}
    if null:
        parts += [
            "<h3>Permuted labels</h3>",
            f"<p>The whole procedure on permuted labels gave a pooled ROC AUC of {_bracketed(null['roc_auc'])} "
            "(mean, and the middle 95 %); the share that reaches the model's is "
            f"p = {_round(null['p'])}.</p>",
        ]
    first = models[0]
    scopes = [s for m, s, _ in cell if m == first and s.startswith("fold")]
    repeated = any(scope == "repeats mean" for _, scope, _ in cell)
    lines = []
    for metric in metrics:
        line = {
            "metric": _name(metric),
            "mean ± SD": _spread(cell, first, metric),
            "pooled": _bracketed(cell[first, "pooled", metric]),
        }
        if repeated:
            line["mean ± SD of repeats"] = _spread(cell, first, metric, "repeats ")
        lines.append(line | {s: _round(cell[first, s, metric]) for s in dict.fromkeys(scopes)})
    return [
        *parts,
        f"<h3>All of {escape(first)}</h3>",
        _table(lines),
        "<p>metrics.tsv has the same of all models.</p>",
    ]


def _spread(cell: dict[tuple[str, str, str], Row], model: str, metric: str, of: str = "") -> str:
    mean, sd = (cell.get((model, of + scope, metric), {}) for scope in ("mean", "sd"))
    return f"{_round(mean)} ± {_round(sd)}" if mean else "–"


def _bracketed(row: Row) -> str:
    low, high = _round(row, "ci_low"), _round(row, "ci_high")
    return _round(row) + (f" [{low}, {high}]" if low != MISSING else "")


def _picture(picture: Picture) -> str:
    data = base64.b64encode(encode(picture.figure, "svg")).decode()
    kind = ' class="wide"' if picture.wide else ""
    return (
        f'<figure{kind}><img alt="{escape(picture.name, quote=True)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in rows[0])
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(v)}</td>" for v in row.values()) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    body = "\n".join(
        f'<tr><th scope="row">{escape(k)}</th><td class="text">{escape(v)}</td></tr>'
        for k, v in pairs
    )
    return f'<div class="scroll"><table>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _name(metric: str) -> str:
    return NAMES.get(metric, metric)


def _round(row: Row, column: str = "value") -> str:
    text = row.get(column, MISSING)
    return f"{float(text):.3f}" if "." in text else text
