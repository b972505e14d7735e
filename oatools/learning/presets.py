"""Sets of clinical variables by name, and the columns that are no predictors.

Columns are called as in `oa-label --list-variables`; a study's own columns are as good.
"""

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
_OUTCOME_ENDING = "_change"
_NOT_CLINICAL = ("knee", "subject", "visit", "sequence", "path", "readprj", "fold", "probability")


def is_outcome(column: str) -> bool:
    """Return True if a column, by its name, holds what became of the knee after the visit.

    A grade at the visit (`kl`, `jsm`) does not, and may predict.
    """
    name = column.strip().casefold()
    return name in OUTCOMES or name.endswith(_OUTCOME_ENDING)


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
    if is_outcome(name) or (endpoint == "pain" and name in PAIN_SCORES):
        raise UsageError(
            f"'{name}' cannot be a clinical variable (endpoint {endpoint or 'not known'}): "
            "the label is made from it"
        )
    if name in _NOT_CLINICAL:
        raise UsageError(
            f"'{name}' cannot be a clinical variable: it says nothing about the knee at the visit"
        )
