"""The endpoints: which knees lose joint space or hurt, which do not, and which cannot be labelled and why.

All arithmetic is decimal: a joint space that goes from 4.1 to 3.6 mm has lost exactly 0.5 mm.
"""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row
from oatools.oai.clinical import project_rank
from oatools.oai.codes import (
    PROSTHESIS,
    VISITS,
    Knee,
    Record,
    code,
    decimal,
    is_missing,
    knee_of,
    plain,
)

#: The reading project taken first where a knee was read in several; then they are taken by
#: ascending number.
FIRST_PROJECTS = ("16",)

#: The width that is taken unless another is asked for: the minimum of the medial compartment.
MINIMUM = "mcmjsw"
#: All widths of the study's tables: that minimum, and those at fixed places (0.150 to 0.300 and
#: 0.700 to 0.900).
LOCATIONS = (
    MINIMUM,
    *(f"jsw{x}" for x in range(150, 301, 25)),
    *(f"ljsw{x}" for x in range(700, 901, 25)),
)
# Flags of what could not be measured, for each kind of width, and of bone on bone.
_MEDIAL_MINIMUM, _MEDIAL, _LATERAL = ("NOMMJSW", "NOMJSWX"), ("NOMJSWX",), ("NOLJSWX",)
_FLAGS = ("NOMMJSW", "NOMJSWX", "NOLJSWX", "MJSWBB")

_CONFIDENCE = 1.96  # two-sided 95 % of a normal distribution, as Jacobson and Truax have it

NO_JSW, NO_NUMBER, NOT_MEASURABLE, REPLACED = (
    "no JSW",
    "JSW is no possible number",
    "JSW not measurable",
    "replaced",
)


@dataclass(frozen=True)
class Endpoint:
    """What makes a knee positive. `months` from the visit to the horizon; `threshold` in mm, % or points of WOMAC."""

    name: str
    months: int
    threshold: Decimal
    relative: bool = False


ENDPOINTS = {
    "jsn12": Endpoint("jsn12", 12, Decimal("-0.5")),
    "jsn24": Endpoint("jsn24", 24, Decimal("-0.5")),
    "jsn12-relative": Endpoint("jsn12-relative", 12, Decimal("-25"), relative=True),
    "pain": Endpoint("pain", 0, Decimal("2")),
}
#: Below this WOMAC pain a knee is negative; from here to the threshold it is neither.
PAIN_FREE_BELOW = Decimal("1")


@dataclass(frozen=True)
class Reading:
    """One reading of one X-ray: the joint space width in mm, or why there is none."""

    jsw: Decimal | None
    problem: str = ""


#: Knee -> reading project -> its reading at one visit.
Readings = Mapping[Knee, Mapping[str, Reading]]


def endpoint_of(
    name: str, horizon: str | None = None, visit: str = "00m", location: str = MINIMUM
) -> Endpoint:
    """The endpoint of that name, or the same at another horizon or width, which its name then says: `jsn36-jsw225`."""
    chosen = ENDPOINTS[name]
    if not chosen.months:
        if horizon is not None or location != MINIMUM:
            raise UsageError(
                f"{name} is an endpoint of the visit itself and of no width; leave out --horizon and --jsw"
            )
        return chosen
    months = chosen.months if horizon is None else month_of(horizon) - month_of(visit)
    if months <= 0:
        raise UsageError(f"the horizon {horizon} does not come after the visit {visit}")
    name = f"jsn{months}{'-relative' * chosen.relative}{f'-{location}' * (location != MINIMUM)}"
    return Endpoint(name, months, chosen.threshold, chosen.relative)


def month_of(visit: str) -> int:
    """Months since enrolment of a visit written `12m`; a `UsageError` for anything else."""
    if re.fullmatch(r"\d+m", visit) is None:
        raise UsageError(
            f"there is no visit '{visit}'; visits are months since enrolment, such as 00m, 12m, 24m"
        )
    return int(visit[:-1])


def horizon_of(
    endpoint: Endpoint, visit: str, visits: Collection[str], x_rays: Collection[str]
) -> str:
    """The visit at which the outcome is measured; a `UsageError` where a study has no X-ray at one of the two.

    `visits` are all visits of the study, `x_rays` those at which widths were measured.
    """
    if visit not in visits:
        raise UsageError(f"there is no visit '{visit}'; the visits are {', '.join(visits)}")
    horizon = f"{month_of(visit) + endpoint.months:02d}m"
    if endpoint.months and (visit not in x_rays or horizon not in x_rays):
        raise UsageError(
            f"{endpoint.name} at {visit} needs X-rays at {visit} and {horizon}; "
            f"there are X-rays at {', '.join(x_rays)}"
        )
    return horizon


@dataclass(frozen=True)
class ReliableChange:
    """The smallest loss that measurement error does not explain, and the numbers that it comes from (mm)."""

    knees: int
    sds: tuple[float, float]
    sems: tuple[float, float]
    s_diff: float
    threshold: Decimal


def reliable_change(
    before: Collection[Decimal],
    after: Collection[Decimal],
    reliability: float | None = None,
    sem: float | None = None,
) -> ReliableChange:
    """The threshold of Jacobson and Truax (J Consult Clin Psychol 1991) from widths of the same knees at two visits.

    SEM = SD sqrt(1 - reliability) at either visit, unless `sem` gives it; S_diff = sqrt(SEM_1^2 +
    SEM_2^2); a loss is reliable beyond 1.96 S_diff. SDs are of the sample (n - 1) over knees. The
    threshold is rounded to 0.001 mm, the resolution of the tables. Raises a `UsageError` for fewer
    than three knees.
    """
    if len(before) < 3:
        raise UsageError(
            f"{len(before)} knees with both widths give no standard deviation; three or more are needed"
        )
    sds = (statistics.stdev(map(float, before)), statistics.stdev(map(float, after)))
    sems = (
        (sem, sem)
        if sem is not None
        else tuple(sd * math.sqrt(1 - (reliability or 0.0)) for sd in sds)
    )
    s_diff = math.hypot(*sems)
    threshold = -Decimal(repr(_CONFIDENCE * s_diff)).quantize(Decimal("0.001"))
    return ReliableChange(len(before), sds, sems, s_diff, threshold)


def checked_threshold(endpoint: Endpoint, threshold: Decimal | None) -> Decimal:
    """The endpoint's cut or another one, which must leave the endpoint its meaning (`UsageError`)."""
    value = endpoint.threshold if threshold is None else threshold
    if not value.is_finite():
        raise UsageError(f"threshold {value} is no finite number")
    if endpoint.months and value >= 0:
        raise UsageError(
            f"threshold {plain(value)}: a loss of joint space is a negative change; give for example "
            f"{plain(endpoint.threshold)}"
        )
    if not endpoint.months and value < PAIN_FREE_BELOW:
        raise UsageError(
            f"threshold {plain(value)}: knees below {PAIN_FREE_BELOW} are the negative ones; "
            f"give {PAIN_FREE_BELOW} or more"
        )
    return value


def jsw_columns(visit: str, location: str = MINIMUM) -> tuple[list[str], list[str]]:
    """The columns of kxr_qjsw_duryeaNN that are needed at a visit, and those that are used where they exist."""
    p = f"V{VISITS[visit]:02d}"
    return ["ID", "SIDE", "READPRJ", f"{p}{location.upper()}"], [
        "VERSION",
        *(f"{p}{flag}" for flag in _FLAGS),
    ]


def pain_columns(visit: str) -> dict[str, str]:
    """Side -> the column of AllClinicalNN with that knee's WOMAC pain at a visit."""
    return {side: f"V{VISITS[visit]:02d}WOMKP{side[0].upper()}" for side in ("right", "left")}


def readings(
    records: Iterable[Record], visit: str, location: str = MINIMUM
) -> dict[Knee, dict[str, Reading]]:
    """Knee -> reading project -> its reading at a visit, from the records of kxr_qjsw_duryeaNN.

    A knee read more than once in one project keeps a measured reading before one without a
    measurement, then that with the highest VERSION, then the first in the table. A record without
    id, side or project belongs to no knee.
    """
    found: dict[Knee, dict[str, tuple[tuple[bool, tuple[int, ...]], Reading]]] = defaultdict(dict)
    for record in records:
        knee, project = knee_of(record), code(record["READPRJ"])
        if knee is None or is_missing(project):
            continue
        reading = _reading(record, f"V{VISITS[visit]:02d}", location)
        rank = (reading.jsw is not None, _version(record))
        if project not in found[knee] or rank > found[knee][project][0]:
            found[knee][project] = (rank, reading)
    return {
        knee: {p: reading for p, (_, reading) in projects.items()}
        for knee, projects in found.items()
    }


def irregular_records(records: Iterable[Record]) -> Counter[str]:
    """How many records are duplicates of a knee and project, or belong to no knee (see `readings`)."""
    seen, notes = set(), Counter[str]()
    for record in records:
        knee, project = knee_of(record), code(record["READPRJ"])
        if knee is None or is_missing(project):
            notes["without id, side or reading project"] += 1
        elif (knee, project) in seen:
            notes["repeated within a reading project"] += 1
        seen.add((knee, project))
    return notes


def first_reading(projects: Mapping[str, Reading]) -> tuple[str, Reading] | None:
    """The measured reading of the project that comes first (`FIRST_PROJECTS`, then by number)."""
    usable = [project for project, reading in projects.items() if reading.jsw is not None]
    best = min(usable, key=lambda project: project_rank(project, FIRST_PROJECTS), default=None)
    return None if best is None else (best, projects[best])


def jsn_labels(
    first: Readings,
    second: Readings,
    endpoint: Endpoint,
    visit: str = "00m",
    threshold: Decimal | None = None,
    enrolled: Iterable[Knee] = (),
    replaced: Collection[Knee] = (),
) -> tuple[list[Row], Counter[str]]:
    """Label knees by the change of their joint space width between a visit (`first`) and the horizon (`second`).

    Both widths come from one reading project. Positive: change <= threshold, in mm, or in % of the
    width at the visit for a relative endpoint. `enrolled` adds knees that were never read to the
    flow; `replaced` leaves knees out. Returns rows sorted by knee (knee, subject, visit, side,
    label, jsw, jsn, readprj) and the number of knees left out by reason.
    """
    horizon, cut = (
        f"{month_of(visit) + endpoint.months:02d}m",
        checked_threshold(endpoint, threshold),
    )
    rows, left_out = [], Counter[str]()
    for knee in sorted({*first, *second, *enrolled}):
        before, after = first.get(knee, {}), second.get(knee, {})
        both = {
            p: r
            for p, r in before.items()
            if r.jsw is not None and p in after and after[p].jsw is not None
        }
        problems = {reading.problem for reading in (*before.values(), *after.values())}
        chosen = first_reading(both)
        if knee in replaced or REPLACED in problems:
            left_out[f"knee replaced by {horizon}"] += 1
        elif chosen is None:
            left_out[_why(before, after, visit, horizon)] += 1
        elif endpoint.relative and chosen[1].jsw == 0:
            left_out[f"JSW is 0 at {visit}, so that no relative change is defined"] += 1
        else:
            project, reading = chosen
            rows.append(
                _jsn_row(
                    knee, visit, reading.jsw, after[project].jsw, project, cut, endpoint.relative
                )
            )
    return sorted(rows, key=lambda row: row["knee"]), left_out


def pain_labels(
    scores: Mapping[Knee, str],
    endpoint: Endpoint,
    visit: str = "00m",
    threshold: Decimal | None = None,
    replaced: Collection[Knee] = (),
    jsw: Readings | None = None,
) -> tuple[list[Row], Counter[str]]:
    """Label knees by their WOMAC pain at a visit: positive >= threshold, negative < 1, left out in between.

    `scores` is knee -> cell. Returns rows sorted by knee (knee, subject, visit, side, label, jsw,
    readprj) and the number of knees left out by reason.
    """
    cut = checked_threshold(endpoint, threshold)
    rows, left_out = [], Counter[str]()
    for knee, cell in scores.items():
        try:
            score = decimal(cell)
        except ValueError:
            score = Decimal(-1)
        read = (jsw or {}).get(knee, {})
        if knee in replaced or REPLACED in {reading.problem for reading in read.values()}:
            left_out[f"knee replaced by {visit}"] += 1
        elif score is None:
            left_out[f"no WOMAC pain at {visit}"] += 1
        elif not 0 <= score <= 20:
            left_out[f"WOMAC pain is no number from 0 to 20 at {visit}"] += 1
        elif PAIN_FREE_BELOW <= score < cut:
            left_out[f"WOMAC pain from {PAIN_FREE_BELOW} to below {plain(cut)} at {visit}"] += 1
        else:
            project, reading = first_reading(read) or (MISSING, Reading(None))
            width = MISSING if reading.jsw is None else plain(reading.jsw)
            rows.append(
                _identity(knee, visit)
                | {"label": str(int(score >= cut)), "jsw": width, "readprj": project}
            )
    return sorted(rows, key=lambda row: row["knee"]), left_out


def _identity(knee: Knee, visit: str) -> Row:
    subject, side = knee
    return {"knee": f"{subject}_{visit}_{side}", "subject": subject, "visit": visit, "side": side}


def _jsn_row(
    knee: Knee,
    visit: str,
    before: Decimal,
    after: Decimal,
    project: str,
    cut: Decimal,
    relative: bool,
) -> Row:
    change = after - before
    positive = 100 * change <= cut * before if relative else change <= cut
    return _identity(knee, visit) | {
        "label": str(int(positive)),
        "jsw": plain(before),
        "jsn": plain(change),
        "readprj": project,
    }


def _reading(record: Record, prefix: str, location: str) -> Reading:
    cell = record[f"{prefix}{location.upper()}"]
    if cell == PROSTHESIS:
        return Reading(None, REPLACED)
    try:
        jsw = decimal(cell)
    except ValueError:
        return Reading(None, NO_NUMBER)
    # Where bone touches bone the software measures nothing, and the reader sets the minimum to 0:
    # that is a value.
    bone_on_bone = location == MINIMUM and jsw == 0 and _flag(record, f"{prefix}MJSWBB")
    flags = (
        _LATERAL
        if location.startswith("ljsw")
        else _MEDIAL_MINIMUM
        if location == MINIMUM
        else _MEDIAL
    )
    if not bone_on_bone and any(_flag(record, f"{prefix}{flag}") for flag in flags):
        return Reading(None, NOT_MEASURABLE)
    if jsw is None:
        return Reading(None, NO_JSW)
    return Reading(jsw) if jsw >= 0 else Reading(None, NO_NUMBER)


def _flag(record: Record, column: str) -> bool:
    return code(record.get(column, ".")) == "1"


def _version(record: Record) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", record.get("VERSION", "")))


def _why(
    before: Mapping[str, Reading], after: Mapping[str, Reading], visit: str, horizon: str
) -> str:
    for projects, when in ((before, visit), (after, horizon)):
        problems = {reading.problem for reading in projects.values()}
        if "" not in problems:
            return f"{next((p for p in (NOT_MEASURABLE, NO_NUMBER) if p in problems), NO_JSW)} at {when}"
    return f"JSW at {visit} and {horizon} from different reading projects only"
