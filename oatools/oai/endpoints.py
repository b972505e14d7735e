"""The endpoints: what makes a knee positive, at which visit it is measured, and where it is cut."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from oatools.core.errors import UsageError
from oatools.oai.codes import plain
from oatools.oai.widths import MINIMUM


@dataclass(frozen=True)
class Endpoint:
    """A definition of a positive knee.

    `months` from the visit to the horizon, 0 for an endpoint of the visit itself; `threshold` in
    mm, in % where the change is `relative`, or in points of WOMAC; `width` is the joint space that
    is measured.
    """

    name: str
    months: int
    threshold: Decimal
    relative: bool = False
    width: str = MINIMUM

    def horizon(self, visit: str) -> str:
        """The visit at which the outcome is measured."""
        return f"{month_of(visit) + self.months:02d}m"


ENDPOINTS = {
    "jsn12": Endpoint("jsn12", 12, Decimal("-0.5")),
    "jsn24": Endpoint("jsn24", 24, Decimal("-0.5")),
    "jsn12-relative": Endpoint("jsn12-relative", 12, Decimal("-25"), relative=True),
    "pain": Endpoint("pain", 0, Decimal("2")),
}
#: Below this WOMAC pain a knee is negative; from here to the threshold it is neither.
PAIN_FREE_BELOW = Decimal("1")


def endpoint_of(
    name: str, horizon: str | None = None, visit: str = "00m", width: str = MINIMUM
) -> Endpoint:
    """The endpoint of that name, or the same at another horizon or width.

    Its name says which: `jsn36-jsw225`. Raises a `UsageError` for what makes no endpoint.
    """
    if name not in ENDPOINTS:
        raise UsageError(f"there is no endpoint '{name}'", f"known: {', '.join(ENDPOINTS)}")
    chosen = ENDPOINTS[name]
    if not chosen.months:
        if horizon is not None or width != MINIMUM:
            raise UsageError(
                f"{name} is an endpoint of the visit itself and of no width",
                "leave out `horizon` and `width`",
            )
        return chosen
    months = chosen.months if horizon is None else month_of(horizon) - month_of(visit)
    if months <= 0:
        raise UsageError(f"the horizon {horizon} does not come after the visit {visit}")
    full_name = f"jsn{months}"
    if chosen.relative:
        full_name += "-relative"
    if width != MINIMUM:
        full_name += f"-{width}"
    return Endpoint(full_name, months, chosen.threshold, chosen.relative, width)


def month_of(visit: str) -> int:
    """Months since enrolment of a visit written `12m`; a `UsageError` for anything else."""
    if re.fullmatch(r"\d+m", visit) is None:
        raise UsageError(
            f"there is no visit '{visit}'",
            "visits are months since enrolment, such as 00m, 12m, 24m",
        )
    return int(visit[:-1])


def horizon_of(
    endpoint: Endpoint, visit: str, visits: Collection[str], x_rays: Collection[str]
) -> str:
    """The visit at which the outcome is measured.

    `visits` are all visits of the study, `x_rays` those at which widths were measured. Raises a
    `UsageError` where a study has no X-ray at one of the two visits.
    """
    if visit not in visits:
        raise UsageError(f"there is no visit '{visit}'", f"the visits are {', '.join(visits)}")
    horizon = endpoint.horizon(visit)
    if endpoint.months and (visit not in x_rays or horizon not in x_rays):
        raise UsageError(
            f"{endpoint.name} at {visit} needs X-rays at {visit} and {horizon}",
            f"there are X-rays at {', '.join(x_rays)}",
        )
    return horizon


def checked_threshold(endpoint: Endpoint, threshold: Decimal | None) -> Decimal:
    """The endpoint's cut or another one; a `UsageError` for one that has no meaning for it."""
    value = endpoint.threshold if threshold is None else threshold
    if not value.is_finite():
        raise UsageError(f"threshold {value} is no finite number")
    if endpoint.months and value >= 0:
        raise UsageError(
            f"threshold {plain(value)}: a loss of joint space is a negative change",
            f"give for example {plain(endpoint.threshold)}",
        )
    if not endpoint.months and value < PAIN_FREE_BELOW:
        raise UsageError(
            f"threshold {plain(value)}: knees below {PAIN_FREE_BELOW} are the negative ones",
            f"give {PAIN_FREE_BELOW} or more",
        )
    return value
