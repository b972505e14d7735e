"""The result of a reading study in sentences, for the section of a paper that reports it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oatools.core.manifest import MISSING, Row
from oatools.reading.draw import strata_in_words
from oatools.reading.score import ALL, MEAN

_COUNTS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
_METHODS = {
    "exact": "exact intervals after Clopper and Pearson, which take pairs for independent",
    "clustered": "exact intervals on the effective number of pairs, after Korn and Graubard",
    "bootstrap": "percentile intervals of {draws} bootstrap draws",
}


@dataclass(frozen=True)
class Manner:
    """How `oa-pairs score` worked: its `--interval`, draws and seed, and how many pairs share a patient."""

    method: str
    draws: int
    seed: int
    shared: int


def paragraph(
    rows: Sequence[Row],
    differences: Sequence[Row],
    readers: Sequence[str],
    models: Sequence[str],
    manner: Manner,
) -> str:
    """What `oa-pairs score` found, as one paragraph of English; `rows` and `differences` are its tables."""
    overall = {row["reader"]: row for row in rows if row["stratum"] == "all"}
    strata = [
        row for row in rows if row["reader"] == (readers or models)[0] and row["stratum"] != "all"
    ]
    said = [_study(next(iter(overall.values())), strata, readers, models)]
    said += [_share(overall[name], f"Reader {name}", manner.method) for name in readers]
    if MEAN in overall and overall[MEAN]["rank_auc"] != MISSING:
        said.append(
            f"The mean of the {_word(len(readers))} readers, each over the pairs that they answered, was "
            f"{_percent(overall[MEAN], 'rank_auc')} (95 % CI {_bounds(overall[MEAN])})."
        )
    said += [_share(overall[name], f"Model {name}", manner.method) for name in models]
    said += [_agreement(row) for row in differences if {row["one"], row["other"]} <= set(readers)]
    said += [
        f"Over all {_word(len(readers))} readers, on {row['pairs']} pairs, Fleiss' kappa was "
        f"{_value(row, 'kappa')}."
        for row in differences
        if row["other"] == ALL and row["kappa"] != MISSING
    ]
    said += [_apart(row, models) for row in differences if {row["one"], row["other"]} & set(models)]
    said += [_how(overall[name]) for name in readers]
    said.append(_methods(overall, differences, readers, manner))
    return " ".join(sentence for sentence in said if sentence) + "\n"


def _study(row: Row, strata: Sequence[Row], readers: Sequence[str], models: Sequence[str]) -> str:
    words = strata_in_words([r["stratum"] for r in strata]) if strata else {}
    parts = ", ".join(f"{r['pairs']} with {words[r['stratum']]}" for r in strata)
    who = readers or models
    noun = ("reader" if readers else "model") + ("" if len(who) == 1 else "s")
    pairs = "1 pair" if row["pairs"] == "1" else f"{row['pairs']} pairs"
    return (
        f"{_word(len(who)).capitalize()} {noun} ranked {pairs} of a knee that progressed and one that did not"
        f"{f' ({parts})' if parts else ''}."
    )


def _share(row: Row, who: str, method: str) -> str:
    answered = int(row["pairs"]) - int(row["n_unanswered"])
    if not answered:
        return f"{who} ranked no pair."
    ties = f" and {row['ties']} as equal" if row["ties"] != "0" else ""
    blank = f", and left {row['n_unanswered']} unanswered" if row["n_unanswered"] != "0" else ""
    pairs = "1 pair" if answered == 1 else f"{answered} pairs"
    return (
        f"{who} ranked {row['right']} of {pairs} correctly{ties}{blank} ({_percent(row, 'rank_auc')}; "
        f"{method} 95 % CI {_bounds(row)})."
    )


def _agreement(row: Row) -> str:
    if row["agreement"] == MISSING:
        return ""
    return (
        f"Readers {row['one']} and {row['other']} chose the same knee in {_percent(row, 'agreement')} of "
        f"{row['pairs']} pairs (Cohen's kappa {_value(row, 'kappa')})."
    )


def _apart(row: Row, models: Sequence[str]) -> str:
    if row["difference"] == MISSING:
        return ""
    # The model first, as it is the model that is held against somebody.
    turned = row["one"] not in models
    one, other = (row["other"], row["one"]) if turned else (row["one"], row["other"])
    whom = (
        "the mean of the readers"
        if other == MEAN
        else f"model {other}"
        if other in models
        else f"reader {other}"
    )
    both = "the model and all readers" if other == MEAN else "both"
    exact = f", McNemar's p {_p(row['p_mcnemar'])}" if row["p_mcnemar"] != MISSING else ""
    value = float(row["difference"]) * (-100 if turned else 100)
    interval = "not defined"
    if row["ci_low"] != MISSING:
        low, high = sorted(float(row[c]) * (-100 if turned else 100) for c in ("ci_low", "ci_high"))
        interval = f"{_signed(low)} to {_signed(high)}"
    return (
        f"On the {row['pairs']} pairs that {both} ranked, model {one} differed from {whom} by {_signed(value)} "
        f"percentage points (95 % CI {interval}; p {_p(row['p_difference'])}{exact})."
    )


def _how(row: Row) -> str:
    said = []
    if row["seconds"] != MISSING:
        said.append(f"took a median of {float(row['seconds']):.0f} s a pair")
    if row["confidence"] != MISSING:
        said.append(f"gave a mean confidence of {row['confidence']} of 5")
    if row["confidence_auc"] != MISSING:
        said[-1] += (
            f" (the chance that a correct answer was the more confident one: "
            f"{float(row['confidence_auc']):.2f})"
        )
    return f"Reader {row['reader']} {' and '.join(said)}." if said else ""


def _methods(
    overall: Mapping[str, Row], differences: Sequence[Row], readers: Sequence[str], manner: Manner
) -> str:
    said = ["Shares have " + _METHODS[manner.method].format(draws=manner.draws)]
    if any(row["ties"] not in ("0", MISSING) for row in overall.values()):
        said.append("ties count one half")
    over = "groups of pairs that share a patient" if manner.shared else "pairs"
    compared = any(row["difference"] != MISSING for row in differences)
    if compared or MEAN in overall:
        said.append(
            f"intervals of {'differences and means' if compared else 'means'} are Student's t over {over}"
        )
    if any(row["kappa"] != MISSING for row in differences):
        said.append(
            f"those of kappa the middle 95 % of {manner.draws} bootstrap draws of {over} (seed {manner.seed})"
        )
    if compared:
        said.append(
            "p values are two-sided, from the same t and from the exact test of McNemar, which takes pairs for "
            "independent, and are not adjusted for multiple comparisons"
        )
    text = "; ".join(said) + "."
    if manner.shared:
        groups = max(int(row["groups"]) for row in overall.values() if row["groups"] != MISSING)
        text += f" {manner.shared} pairs share a patient with another; the pairs make {groups} groups that share none."
    if len(readers) > 1:
        text += " Readers are taken as fixed: the results speak of these readers, and not of all radiologists."
    return text


def _word(number: int) -> str:
    return _COUNTS[number].lower() if number < len(_COUNTS) else str(number)


def _percent(row: Row, column: str) -> str:
    return f"{100 * float(row[column]):.1f} %"


def _bounds(row: Row) -> str:
    if row["ci_low"] == MISSING:
        return "not defined"
    return f"{100 * float(row['ci_low']):.1f} to {100 * float(row['ci_high']):.1f} %"


def _value(row: Row, column: str) -> str:
    if row[column] == MISSING:
        return "is not defined"
    bounds = ""
    if row[f"{column}_low"] != MISSING:
        bounds = f", 95 % CI {_minus(float(row[f'{column}_low']), 2)} to {_minus(float(row[f'{column}_high']), 2)}"
    return f"{_minus(float(row[column]), 2)}{bounds}"


def _p(text: str) -> str:
    if text == MISSING:
        return "is not defined"
    return "< 0.001" if float(text) < 0.001 else f"= {float(text):.3f}"


def _signed(value: float) -> str:
    return _minus(value, 1, "+")


def _minus(value: float, digits: int, sign: str = "") -> str:
    shown = f"{value:{sign}.{digits}f}"
    if not float(shown):  # neither above nor below
        shown = f"{0:.{digits}f}"
    return shown.replace("-", "\N{MINUS SIGN}")
