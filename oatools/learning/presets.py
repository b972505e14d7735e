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
#: Those of a time say when an event befell the knee, between which visits, and why none did.
OUTCOMES = ("label", "jsn", "time", "event", "from", "to", "ended")
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
#: Names that say so only if they stand alone.
_REVEALING_NAMES = ("y", "class", "case", "status", "failure", "loss", "followup")
_OUTCOME_ENDING = "_change"
_REVEALING_STARTS = ("label", "jsn", "prob", "progress", "delta_")  # label_24m, jsn24, ...
# Parts of names, by which people call what became of a knee.
_OUTCOME_PARTS = re.compile(
    r"outcomes?|events?|eventtime|targets?|groundtruth|gt|answers?|predicted|predictions?"
    r"|prog|progn?\w*sion|progress\w*|nonprogress\w*|worsen\w*|deteriorat\w*|incid\w*|convert\w*"
    r"|conversion|respond(er|ers)|improve(d|ment|r)|trajector\w*|change[sd]?|chg|deltas?|slope"
    r"|surv|surviv\w*|censor\w*|mortality|died|dead|death|tte|timeto\w*|grouptype"
)
# What is done to a knee at the end of the disease; before it, to another joint or in the family, it
# is a variable like others.
_REPLACEMENT = re.compile(
    r"tk[ra]s?|thr|tjr|uk[ra]|krs?|e[lr]kr\w*|arthroplast\w*|replac\w*|prosthes[ie]s"
)
_BEFORE_OR_ELSEWHERE = re.compile(
    r"fam|fh|fhx|family\w*|parent\w*|mother\w*|father\w*|mat|pat|sib\w*|history|hist|hx|prior|prev"
    r"|previous\w*|past|pre|contralat\w*|contra|other|opposite|hip|hormone|estrogen|baseline|bl|base"
)
# What is measured of a joint, and words that say of two measurements how they differ.
_MEASURES = re.compile(
    r"m?c?m?jsw\w*|[xl]mjsw|mjsw|jsn|jsm|jsl|jsw|js|kl|klg|kld|xrkl|cartilage|cart|joint|space|width"
    r"|thickness|thick|womac\w*|koos\w*|pain|mm|oarsi|moaks|bml"
)
_DIFFERENCES = re.compile(
    r"loss(es)?|diff(s|erence)?|gain|increase[sd]?|decrease[sd]?|decline|growth|narrowing|rate"
)
_AFTER = re.compile(
    r"fu|fup|fus?\d+|fup\d+|follow\w*|later|subsequent\w*|future|final|exit|post|postop\w*|after|next"
)
_AFTER_BASELINE = ("fu0", "fup0")
# A visit in a column's name, and not the first: kl_12m, jsw24, kl_v03, and OAI's own V03XRKL.
_LATER_VISIT = re.compile(
    r"_0*[1-9]\d*_?(m|mo|mos|mth|mths|months?|y|yrs?|years?|wks?|weeks?)(_|$)"
    r"|(^|_)(m|mo|mth|month|months|wk|week)_?0*[1-9]\d*(_|$)|(^|_)(y|yr|year)_?[1-9]\d?(_|$)"
    r"|^0*[1-9]\d*_?(m|mo|mos|mth|mths|months?|y|yrs?|years?|wks?|weeks?)_"
    r"|_v_?0*[1-9]\d*(_|$)|^v_?0*[1-9]\d*_|(visit|vis|wave|exam|timepoint|tp)_?0*[2-9](_|$)"
    r"|(^|_)(last|final|second|next|end)_(visit|exam|x_?ray|mri|kl|jsw|womac)"
    r"|_(last|final|end)$"
    r"|^(jsw|jsm|jsl|klg?|womac\w*)(?!00m?$)\d\dm?$|^\w*jsw_?[1-9]$"
    r"|^v(0[1-9]|1[0-3]|99|[1-9](?!\d))_?[a-z]|(^|_)(time|days|months|years|yrs)_(to|till|until)(_|$)"
)
_BARE_MONTHS = re.compile(r"_(0[1-9]|1[258]|24|3[06]|48|60|72|84|96)$")
# Walks are so many metres long; questionnaires have so many questions, and thresholds such values.
_WALKS = re.compile(r"walk\w*|gait|pace|pacing|speed|run|mwt|mwd|\d+mw[dt]")
_METRES = re.compile(r"(^|_)\d+_?m(?=_|$)")
_NO_MONTHS = re.compile(r"sf|vr|phq|audit|promis|icd|moca|ces|cesd|eq|gad|hads|oks|age|bmi|risk")
# Of what was before the visit.
_POST = re.compile(r"post_(?=menopaus|trauma|menisc|partum|acl|fracture)")
_AT_THE_VISIT = re.compile(r"_00m$|_v00$|_baseline$")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")  # timeToTKR
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

    That is `jsw_12m`, `kl24`, `label_24m`, `V03XRKL`, `followup_kl`, `jsw_loss`, `time_to_tkr`; not
    `kl_00m`, nor `kl`, `jsw_medial_baseline`, `family_history_tkr`.
    """
    name = _plain(column)
    if is_outcome(name) or name in REVEALING_COLUMNS or name in _REVEALING_NAMES:
        return True
    if name.startswith(_REVEALING_STARTS):
        return True
    return _says_what_became(name) or _says_when(name)


def _says_what_became(name: str) -> bool:
    """Tell whether a plain name holds a word for the course of the disease, or for its end."""
    parts = name.split("_")
    if any(_OUTCOME_PARTS.fullmatch(part) for part in parts):
        return True
    is_elsewhere = any(_BEFORE_OR_ELSEWHERE.fullmatch(part) for part in parts)
    if not is_elsewhere and any(_REPLACEMENT.fullmatch(part) for part in parts):
        return True
    is_difference = any(_DIFFERENCES.fullmatch(part) for part in parts)
    return is_difference and any(_MEASURES.fullmatch(part) for part in parts)


def _says_when(name: str) -> bool:
    """Tell whether a plain name holds a time after the visit, and more than that time."""
    name = _POST.sub("post", name)
    parts = name.split("_")
    if len(parts) > 1 and any(map(_is_after, parts)):
        return True
    if any(_WALKS.fullmatch(part) for part in parts):
        name = _METRES.sub("", name)
    if _LATER_VISIT.search(name):
        return True
    return bool(_BARE_MONTHS.search(name)) and not any(map(_NO_MONTHS.fullmatch, parts))


def _is_after(part: str) -> bool:
    return part not in _AFTER_BASELINE and _AFTER.fullmatch(part) is not None


def is_part_of_label(column: str, endpoint: str) -> bool:
    """Return True for a score that the endpoint's label is made from, whatever visit and cut."""
    name = endpoint.partition("@")[0]  # `pain@5` is pain with another cut
    return name == "pain" and _AT_THE_VISIT.sub("", _plain(column)) in PAIN_SCORES


def _plain(column: str) -> str:
    """The name of a column in small letters, with one sign between its parts."""
    parted = _HUMPS.sub("_", column)
    return _SEPARATORS.sub("_", parted.casefold()).strip("_")


def clinical_set(text: str, endpoint: str, allow_label_leakage: bool = False) -> list[str]:
    """Return column names from presets and columns, separated by commas, or from `none`.

    Raises a `UsageError` for columns from which the endpoint's label is made, and for those that
    are no predictors; for those that are none by their name alone, unless that is allowed.
    """
    names: list[str] = []
    for part in text.split(","):
        item = part.strip()
        if item and item != "none":
            names += PRESETS.get(item, (item,))
    for name in names:
        _require_predictor(name, endpoint, allow_label_leakage)
    return list(dict.fromkeys(names))


def _require_predictor(name: str, endpoint: str, allow_label_leakage: bool) -> None:
    if is_outcome(name) or is_part_of_label(name, endpoint):
        raise UsageError(
            f"'{name}' cannot be a clinical variable (endpoint {endpoint or 'not known'}): "
            "the label is made from it"
        )
    if name in _NOT_CLINICAL:
        raise UsageError(
            f"'{name}' cannot be a clinical variable: it says nothing about the knee at the visit"
        )
    if reveals_outcome(name) and not allow_label_leakage:
        raise UsageError(
            f"'{name}' cannot be a clinical variable: by its name it was found after the visit, or "
            "made from the outcome",
            "leave it out; if it was known at the visit, give the column another name, or insist "
            "with `allow_label_leakage`",
        )
