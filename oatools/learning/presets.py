"""Sets of clinical variables by name, and the columns that are no predictors.

Columns are called as in `oa-label --list-variables`; a study's own columns are as good. What a
column's name gives away is decided here for all: neither a model nor a reader may have it.
"""

import re

from oatools.core.errors import UsageError

#: `paper10` is our guess: the published list stands in a supplement that was not available to us.
#: It is the reading study's six variables, KL grade, past injury, past surgery and WOMAC stiffness
#: (allowed with every endpoint).
PRESETS = {
    "bmi": ("bmi",),
    "paper10": (
        "age",
        "sex",
        "bmi",
        "height",
        "weight",
        "jsw",
        "kl",
        "injury",
        "surgery",
        "womac_stiffness",
    ),
}

#: The scores from which the label is made where the endpoint is pain. The total is a sum with pain
#: in it, and the KOOS pain scale holds the five WOMAC pain questions among its nine.
PAIN_SCORES = ("womac_pain", "womac_total", "koos_pain")

#: Columns that hold the outcome, whatever the endpoint, and how others of them end: `kl_change`.
OUTCOMES = ("label", "jsn")
#: Columns that hold the answer, or something made from it.
REVEALING_COLUMNS = (
    *OUTCOMES,
    "stratum",
    "probability",
    "predicted",
    "fold",
    "threshold",
    "attention",
    "heat",
    "choice",
    "outcome",
    "truth",
    "answer",
    "endpoint",
)
_OUTCOME_ENDING = "_change"
_REVEALING_STARTS = ("label", "jsn", "prob", "progress", "delta_")  # label_24m, jsn24, ...
# A visit in a column's name, and not the first: kl_12m, jsw24, kl_v03, and OAI's own V03XRKL.
_LATER_VISIT = re.compile(
    r"_(?!00)\d\dm?$|_0*[1-9]\d*_?(m|mo|mos|months?|y|yrs?|years?)$"
    r"|_(m|month|months)_?0*[1-9]\d*$|_v_?(?!00)\d\d$|_(year|y)_?[1-9]$"
    r"|_(fu|fup|follow_?up)\d*$|_later$"
    r"|^(jsw|jsm|jsl|klg?|womac\w*)(?!00m?$)\d\dm?$"
    r"|^(?!00)\d{2,3}m_\w|^v(0[1-9]|1[0-3])_?[a-z]"
)
_AT_THE_VISIT = re.compile(r"_00m$|_v00$|_baseline$")
_SEPARATORS = re.compile(r"[\W_]+")
_NOT_CLINICAL = ("knee", "subject", "visit", "sequence", "path", "readprj", "fold", "probability")


def is_outcome(column: str) -> bool:
    """Return True if a column, by its name, holds what became of the knee after the visit.

    A grade at the visit (`kl`, `jsm`) does not, and may predict.
    """
    name = _plain(column)
    return name in OUTCOMES or name.endswith(_OUTCOME_ENDING)


def reveals_outcome(column: str) -> bool:
    """Return True if a column, by its name, holds the answer, or what a later visit found.

    That is `jsw_12m`, `kl24`, `label_24m`, `V03XRKL`; not `kl_00m`, nor `kl`.
    """
    name = _plain(column)
    if is_outcome(name) or name in REVEALING_COLUMNS or name.startswith(_REVEALING_STARTS):
        return True
    return _LATER_VISIT.search(name) is not None


def is_part_of_label(column: str, endpoint: str) -> bool:
    """Return True for a score that the endpoint's label is made from, whatever visit and cut."""
    name = endpoint.partition("@")[0]  # `pain@5` is pain with another cut
    return name == "pain" and _AT_THE_VISIT.sub("", _plain(column)) in PAIN_SCORES


def _plain(column: str) -> str:
    """The name of a column in small letters, with one sign between its parts."""
    return _SEPARATORS.sub("_", column.casefold()).strip("_")


def clinical_set(text: str, endpoint: str) -> list[str]:
    """Return column names from presets and columns, separated by commas, or from `none`.

    Raises a `UsageError` for columns from which the endpoint's label is made, and for those that
    are no predictors.
    """
    names: list[str] = []
    for part in text.split(","):
        item = part.strip()
        if item and item != "none":
            names += PRESETS.get(item, (item,))
    for name in names:
        _require_predictor(name, endpoint)
    return list(dict.fromkeys(names))


def _require_predictor(name: str, endpoint: str) -> None:
    if is_outcome(name) or is_part_of_label(name, endpoint):
        raise UsageError(
            f"'{name}' cannot be a clinical variable (endpoint {endpoint or 'not known'}): "
            "the label is made from it"
        )
    if name in _NOT_CLINICAL:
        raise UsageError(
            f"'{name}' cannot be a clinical variable: it says nothing about the knee at the visit"
        )
    if reveals_outcome(name):
        raise UsageError(
            f"'{name}' cannot be a clinical variable: by its name it was found after the visit, or "
            "made from the outcome",
            "leave it out; if it was known at the visit, give the column another name",
        )
