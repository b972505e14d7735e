"""The endpoints of time: how long a knee was free of what, and what a replacement counts for."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.core.errors import UsageError
from oatools.core.suggestions import with_meant
from oatools.oai.codes import plain
from oatools.oai.endpoints import (
    ENDPOINTS,
    Endpoint,
    Kind,
    checked_threshold,
    endpoint_of,
    month_of,
    visit_of,
)
from oatools.oai.grades import KL, MEDIAL_NARROWING, Grade
from oatools.oai.widths import MINIMUM


class Replaced(enum.Enum):
    """What a replacement counts for where the endpoint is read from X-rays.

    These are strategies for an intercurrent event of ICH E9(R1): the composite one, a censoring
    that takes the event for independent, and a competing event.
    """

    EVENT = "event"
    CENSORED = "censored"
    NEVER = "never"


#: The endpoint of each name, of which a timed one takes the kind of reading and the cut; that of a
#: replacement is read from nothing.
_BASES: Mapping[str, Endpoint | None] = {
    "tkr": None,
    "jsn": ENDPOINTS["jsn12"],
    "kl": ENDPOINTS["kl"],
    "jsn-grade": ENDPOINTS["jsn-grade"],
}
#: The names of the endpoints of time.
TIMED = tuple(_BASES)
_GRADES = {Kind.KL: KL, Kind.NARROWING: MEDIAL_NARROWING}


@dataclass(frozen=True)
class TimedEndpoint:
    """The time from a visit to what happens to a knee, followed until a visit.

    `read` is what is read from X-rays, None for the replacement itself; `months` of the last visit
    count from enrolment; `threshold` is the cut in mm or grades, None where nothing is cut;
    `replaced` says what a replacement counts for.
    """

    stem: str
    read: Endpoint | None
    months: int
    threshold: Decimal | None
    replaced: Replaced = Replaced.EVENT

    @property
    def until(self) -> str:
        """The visit that ends the follow-up."""
        return visit_of(self.months)

    @property
    def kind(self) -> Kind | None:
        """The kind of reading, None for a replacement."""
        return None if self.read is None else self.read.kind

    @property
    def width(self) -> str:
        """The joint space that is measured."""
        return MINIMUM if self.read is None else self.read.width

    @property
    def grade(self) -> Grade | None:
        """The grade that is read, None where it is none."""
        return None if self.kind is None else _GRADES.get(self.kind)

    @property
    def name(self) -> str:
        """The endpoint as tables have it, with all that is not usual: `jsn-until96m@-0.7`."""
        name = f"{self.stem}-until{self.until}"
        if self.width != MINIMUM:
            name += f"-{self.width}"
        if self.replaced is not Replaced.EVENT:
            name += f"-replaced-{self.replaced.value}"
        if self.read is None or self.threshold is None or self.threshold == self.read.threshold:
            return name
        return f"{name}@{plain(self.threshold)}"


def timed_endpoint_of(
    name: str,
    until: str,
    visit: str = "00m",
    threshold: Decimal | float | None = None,
    width: str = MINIMUM,
    replaced: str | Replaced | None = None,
) -> TimedEndpoint:
    """The endpoint of time of that name; a `UsageError` for what makes none."""
    if name not in _BASES:
        raise UsageError(f"{name} has no time of its own", _instead(name))
    months = month_of(until)
    if months <= month_of(visit):
        raise UsageError(f"until {until} does not come after the visit {visit}")
    cut = Decimal(str(threshold)) if isinstance(threshold, float | int) else threshold
    base = _BASES[name]
    if base is None:
        for given, what in ((cut, "threshold"), (replaced, "replaced")):
            if given is not None:
                raise UsageError(
                    f"tkr is the replacement itself, without {what}", f"leave out `{what}`"
                )
        if width != MINIMUM:
            raise UsageError("tkr is no endpoint of a joint space width", "leave out `width`")
        return TimedEndpoint(name, None, months, None)
    read = base if width == MINIMUM else endpoint_of(_name_of(base), width=width)
    return TimedEndpoint(
        stem=name,
        read=read,
        months=months,
        threshold=checked_threshold(read, cut),
        replaced=_strategy(replaced),
    )


def _name_of(base: Endpoint) -> str:
    return next(name for name, endpoint in ENDPOINTS.items() if endpoint is base)


def _strategy(replaced: str | Replaced | None) -> Replaced:
    if replaced is None:
        return Replaced.EVENT
    try:
        return Replaced(replaced)
    except ValueError:
        known = ", ".join(strategy.value for strategy in Replaced)
        raise UsageError(f"replaced '{replaced}' is none of {known}", "take one of them") from None


def _instead(name: str) -> str:
    """What to take instead of an endpoint that is none of time."""
    base = ENDPOINTS.get(name)
    if base is None:
        return with_meant(f"take one of {', '.join(TIMED)}", name, TIMED)
    if base.kind is Kind.WIDTH and not base.relative:
        return "take `endpoint` jsn"
    return f"leave out `until`, or take `endpoint` {', '.join(TIMED)}"
