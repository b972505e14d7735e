"""The result of a reading study in sentences, for the section of a paper that reports it."""

from collections.abc import Sequence

from oatools.core.manifest import MISSING, Row
from oatools.reading.draw import stratum_in_words
from oatools.reading.score import ALL, MEAN


def paragraph(
    rows: Sequence[Row], differences: Sequence[Row], readers: Sequence[str], models: Sequence[str], method: str,
    shared: int,
) -> str:  # fmt: skip
    """What `oa-pairs score` found, as one paragraph of English.

    `rows` and `differences` are its tables; `method` says how intervals were made (`exact` or `bootstrap`), `shared`
    how many pairs share a patient with another.
    """
    overall = {row["reader"]: row for row in rows if row["stratum"] == "all"}
    strata = [row for row in rows if row["reader"] == (readers or models)[0] and row["stratum"] != "all"]
    said = [_study(next(iter(overall.values())), strata, readers)]
    said += [_share(overall[name], f"Reader {name}", method) for name in readers]
    if MEAN in overall and overall[MEAN]["rank_auc"] != MISSING:
        said.append(f"The mean of the {len(readers)} readers was {_percent(overall[MEAN], 'rank_auc')} "
                    f"(bootstrap 95 % CI {_bounds(overall[MEAN])}).")  # fmt: skip
    said += [_share(overall[name], f"Model {name}", method) for name in models]
    said += [_agreement(row) for row in differences if {row["one"], row["other"]} <= set(readers)]
    said += [f"Over all {len(readers)} readers Fleiss' kappa was {_value(row, 'kappa')}."
             for row in differences if row["other"] == ALL and row["kappa"] != MISSING]  # fmt: skip
    said += [_apart(row, models) for row in differences if {row["one"], row["other"]} & set(models)]
    said += [_manner(overall[name]) for name in readers if overall[name]["seconds"] != MISSING]
    said.append(_methods(differences, method, shared))
    return " ".join(sentence for sentence in said if sentence) + "\n"


def _study(row: Row, strata: Sequence[Row], readers: Sequence[str]) -> str:
    parts = ", ".join(f"{r['pairs']} with a change of {stratum_in_words(r['stratum'])}" for r in strata)
    count = {0: "No reader", 1: "One reader"}.get(len(readers), f"{len(readers)} readers")
    return (f"{count} ranked {row['pairs']} pairs of a knee that progressed and one that did not"
            f"{f' ({parts})' if parts else ''}.")  # fmt: skip


def _share(row: Row, who: str, method: str) -> str:
    answered = int(row["pairs"]) - int(row["n_unanswered"])
    if not answered:
        return f"{who} ranked no pair."
    ties = f", and {row['ties']} as equal," if row["ties"] != "0" else ""
    return (f"{who} ranked {row['right']} of {answered} pairs rightly{ties} ({_percent(row, 'rank_auc')}; "
            f"{method} 95 % CI {_bounds(row)}).")  # fmt: skip


def _agreement(row: Row) -> str:
    if row["agreement"] == MISSING:
        return ""
    return (f"Readers {row['one']} and {row['other']} chose the same knee in {_percent(row, 'agreement')} of "
            f"{row['pairs']} pairs (Cohen's kappa {_value(row, 'kappa')}).")  # fmt: skip


def _apart(row: Row, models: Sequence[str]) -> str:
    if row["difference"] == MISSING:
        return ""
    # The model first, as it is the model that is held against somebody.
    turned = row["one"] not in models
    one, other = (row["other"], row["one"]) if turned else (row["one"], row["other"])
    value, low, high = (float(row[c]) * (-100 if turned else 100) for c in ("difference", "ci_low", "ci_high"))
    if turned:
        low, high = high, low
    whom = "the mean of the readers" if other == MEAN else f"model {other}" if other in models else f"reader {other}"
    exact = f", McNemar's p {_p(row['p_mcnemar'])}" if row["p_mcnemar"] != MISSING else ""
    return (f"On the {row['pairs']} pairs that both ranked, model {one} differed from {whom} by "
            f"{_signed(value)} percentage points (95 % CI {_signed(low)} to {_signed(high)}; "
            f"p {_p(row['p_difference'])}{exact}).")  # fmt: skip


def _manner(row: Row) -> str:
    sure = ""
    if row["confidence"] != MISSING:
        sure = f", with a mean confidence of {row['confidence']} of 5"
    if row["confidence_auc"] != MISSING:
        sure += f" (right answers were the more confident ones with an AUC of {float(row['confidence_auc']):.2f})"
    return f"Reader {row['reader']} took a median of {float(row['seconds']):.0f} s a pair{sure}."


def _methods(differences: Sequence[Row], method: str, shared: int) -> str:
    said = "Ties count one half."
    if differences:
        over = "groups of pairs that share a patient" if shared else "pairs"
        said += (f" Intervals of differences and of kappa are from a bootstrap over {over}, p values from the t test "
                 "over the same and from the exact test of McNemar.")  # fmt: skip
    if shared and method == "exact":
        said += f" {shared} pairs share a patient with another; the exact intervals take them for independent."
    return said


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
    return f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")
