"""The endpoints: what makes a knee positive, at which visit it is measured, and where it is cut."""

import enum
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal

from oatools.core.errors import UsageError
from oatools.core.suggestions import with_meant
from oatools.oai.codes import plain
from oatools.oai.widths import MINIMUM, WIDTHS


class Kind(enum.Enum):
    """What an endpoint is made from."""

    WIDTH = "the change of a joint space width"
    KL = "the change of the Kellgren-Lawrence grade, or a replacement"
    NARROWING = "the change of the grade of medial joint space narrowing"
    PAIN = "a score of the visit"
    GIVEN = "the study's own outcome"
    NONE = "nothing"


@dataclass(frozen=True)
class Endpoint:
    """A definition of a positive knee.

    `months` from the visit to the horizon, 0 for an endpoint of the visit itself; `threshold` in
    mm, in % where the change is `relative`, in points of WOMAC or in grades, None where nothing is
    cut; `width` is the joint space that is measured.
    """

    name: str
    kind: Kind
    months: int
    threshold: Decimal | None
    relative: bool = False
    width: str = MINIMUM

    def horizon(self, visit: str) -> str:
        """The visit at which the outcome is measured."""
        return visit_of(month_of(visit) + self.months)

    @property
    def is_graded(self) -> bool:
        """True if it is made from grades of X-rays."""
        return self.kind in (Kind.KL, Kind.NARROWING)


ENDPOINTS = {
    "jsn12": Endpoint("jsn12", Kind.WIDTH, 12, Decimal("-0.5")),
    "jsn24": Endpoint("jsn24", Kind.WIDTH, 24, Decimal("-0.5")),
    "jsn12-relative": Endpoint("jsn12-relative", Kind.WIDTH, 12, Decimal("-25"), relative=True),
    "pain": Endpoint("pain", Kind.PAIN, 0, Decimal("2")),
    "kl": Endpoint("kl12", Kind.KL, 12, Decimal("1")),
    "jsn-grade": Endpoint("jsn-grade12", Kind.NARROWING, 12, None),
    "given": Endpoint("given", Kind.GIVEN, 0, None),
    "none": Endpoint("none", Kind.NONE, 0, None),
}
#: The endpoints that are times to an event and nothing else (`oai.timed_endpoints`).
TIMED_ALONE = ("tkr", "jsn")
#: Below this WOMAC pain a knee is negative; from here to the threshold it is neither.
PAIN_FREE_BELOW = Decimal("1")

# The first part of an endpoint's full name, to which the months to the horizon are added.
_STEMS = {Kind.WIDTH: "jsn", Kind.KL: "kl", Kind.NARROWING: "jsn-grade"}
_WIDTH_NAME = re.compile(
    r"jsn(?P<months>\d+)(?P<relative>-relative)?(-(?P<width>\w+))?(@(?P<cut>-\d+(\.\d+)?))?"
)


def endpoint_of(
    name: str, horizon: str | None = None, visit: str = "00m", width: str = MINIMUM
) -> Endpoint:
    """The endpoint of that name, or the same at another horizon or width.

    Its name says which: `jsn36-jsw225`, `kl24`. Raises a `UsageError` for what makes no endpoint.
    """
    if name in TIMED_ALONE:
        raise UsageError(f"{name} is a time, and needs an end", "give `until` 96m, for example")
    if name not in ENDPOINTS:
        known = f"known: {', '.join(ENDPOINTS)}"
        raise UsageError(f"there is no endpoint '{name}'", with_meant(known, name, ENDPOINTS))
    chosen = ENDPOINTS[name]
    if chosen.kind is not Kind.WIDTH and width != MINIMUM:
        raise UsageError(
            f"{name} is no endpoint of a joint space width",
            "leave out `width`" if chosen.months else "leave out `horizon` and `width`",
        )
    if not chosen.months:
        if horizon is not None:
            raise UsageError(f"{name} is an endpoint of the visit itself", "leave out `horizon`")
        return chosen
    months = chosen.months if horizon is None else month_of(horizon) - month_of(visit)
    if months <= 0:
        raise UsageError(f"the horizon {horizon} does not come after the visit {visit}")
    full_name = f"{_STEMS[chosen.kind]}{months}"
    if chosen.relative:
        full_name += "-relative"
    if width != MINIMUM:
        full_name += f"-{width}"
    return Endpoint(full_name, chosen.kind, months, chosen.threshold, chosen.relative, width)


def width_endpoint(full_name: str) -> Endpoint | None:
    """The endpoint of a joint space width from its name in a table of labels: `jsn36-jsw225@-0.7`.

    None for any other name.
    """
    match = _WIDTH_NAME.fullmatch(full_name)
    if match is None or (match["width"] or MINIMUM) not in WIDTHS:
        return None
    base = ENDPOINTS["jsn12-relative" if match["relative"] else "jsn12"]
    return replace(
        base,
        name=full_name.partition("@")[0],
        months=int(match["months"]),
        threshold=Decimal(match["cut"]) if match["cut"] else base.threshold,
        width=match["width"] or MINIMUM,
    )


def month_of(visit: str) -> int:
    """Months since enrolment of a visit written `12m`; a `UsageError` for anything else."""
    if re.fullmatch(r"\d+m", visit) is None:
        raise UsageError(
            f"there is no visit '{visit}'",
            "visits are months since enrolment, such as 00m, 12m, 24m",
        )
    return int(visit[:-1])


def visit_of(months: int) -> str:
    """The visit so many months after enrolment, as the names of knees have it: `00m`, `12m`."""
    return f"{months:02d}m"


def horizon_of(
    endpoint: Endpoint, visit: str, visits: Collection[str], x_rays: Collection[str]
) -> str:
    """The visit at which the outcome is measured.

    `visits` are all visits of the study, `x_rays` those at which what the endpoint is made from was
    measured. Raises a `UsageError` where a study has no X-ray at one of the two visits.
    """
    if visit not in visits:
        raise UsageError(f"there is no visit '{visit}'", f"the visits are {', '.join(visits)}")
    horizon = endpoint.horizon(visit)
    if endpoint.months and (visit not in x_rays or horizon not in x_rays):
        there = f"there are X-rays at {', '.join(x_rays)}" if x_rays else "there is none"
        raise UsageError(
            f"{endpoint.name} at {visit} needs X-rays at {visit} and {horizon}",
            f"{there}; choose with `visit` and `horizon`",
        )
    return horizon


def checked_threshold(endpoint: Endpoint, threshold: Decimal | None) -> Decimal | None:
    """The endpoint's cut or another one; a `UsageError` for one that has no meaning for it."""
    if threshold is None:
        return endpoint.threshold
    if endpoint.threshold is None:
        raise UsageError(f"{endpoint.name} has no threshold", "leave out `threshold`")
    if not threshold.is_finite():
        raise UsageError(f"threshold {threshold} is no finite number")
    if endpoint.kind is Kind.WIDTH and threshold >= 0:
        raise UsageError(
            f"threshold {plain(threshold)}: a loss of joint space is a negative change",
            f"give for example {plain(endpoint.threshold)}",
        )
    if endpoint.kind is Kind.KL and (threshold <= 0 or threshold != threshold.to_integral_value()):
        raise UsageError(f"threshold {plain(threshold)}: grades are lost one by one", "give 1 or 2")
    if endpoint.kind is Kind.PAIN and threshold < PAIN_FREE_BELOW:
        raise UsageError(
            f"threshold {plain(threshold)}: knees below {PAIN_FREE_BELOW} are the negative ones",
            f"give {PAIN_FREE_BELOW} or more",
        )
    return threshold
