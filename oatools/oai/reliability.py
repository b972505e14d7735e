"""The smallest loss of joint space that measurement error does not explain."""

import math
import statistics
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from oatools.core.errors import UsageError

#: A standard error of measurement of the minimum joint space width, mm, where none is given: about
#: that of repeated radiographs in one unit (0.32 mm; Mazzuca et al. 1999).
SEM = 0.3

_CONFIDENCE = 1.96  # two-sided 95 % of a normal distribution, as Jacobson and Truax have it
_RESOLUTION = Decimal("0.001")  # of the tables, mm


@dataclass(frozen=True)
class MeasurementError:
    """The error of a width: its reliability (ICC, 0 to 1), or its standard error (`sem`) in mm.

    With neither, all change is taken for error: S_diff is the standard deviation of the change
    itself. That is how Schiratti et al. (2021) come by -1.1 mm, 1.96 x 0.569 mm in their cohort.
    """

    reliability: float | None = None
    sem: float | None = None

    def __post_init__(self) -> None:
        if self.reliability is not None and self.sem is not None:
            raise UsageError(
                "a measurement error is given by one of two numbers", "give `reliability` or `sem`"
            )
        if self.reliability is not None and not 0 <= self.reliability < 1:
            raise UsageError(f"reliability {self.reliability:g}", "give 0 or more, below 1")
        if self.sem is not None and not 0 < self.sem < math.inf:
            raise UsageError(f"a standard error of {self.sem:g} mm", "give more than 0")

    @property
    def is_all_change(self) -> bool:
        """True if all change is taken for error."""
        return self.reliability is None and self.sem is None

    def standard_error(self, sd: float) -> float:
        """The standard error of measurement (mm) of widths with this standard deviation (mm)."""
        if self.sem is not None:
            return self.sem
        return sd * math.sqrt(1 - (self.reliability or 0.0))


@dataclass(frozen=True)
class ReliableChange:
    """The smallest loss that measurement error does not explain, and its derivation (mm).

    `sds` and `sems` are the standard deviations and the standard errors of measurement at the two
    visits, over `knees` knees; `sems` is None where all change is taken for error. `sd_change` is
    the standard deviation of the change.
    """

    error: MeasurementError
    knees: int
    sds: tuple[float, float]
    sems: tuple[float, float] | None
    sd_change: float
    s_diff: float
    threshold: Decimal


def reliable_change(
    before: Collection[Decimal], after: Collection[Decimal], error: MeasurementError
) -> ReliableChange:
    """The threshold of Jacobson and Truax (J Consult Clin Psychol 1991).

    `before` and `after` are widths of the same knees at two visits, mm. SEM = SD sqrt(1 -
    reliability) at either visit, unless the error gives it; S_diff = sqrt(SEM_1^2 + SEM_2^2), or
    the SD of the change where all change is taken for error; a loss is reliable beyond 1.96 S_diff.
    SDs are of the sample (n - 1) over knees. The threshold is rounded to 0.001 mm, the resolution
    of the tables. Raises a `UsageError` for fewer than three knees.
    """
    if len(before) < 3:
        raise UsageError(
            f"{len(before)} knees with both widths give no standard deviation",
            "three or more are needed",
        )
    first_sd, second_sd = statistics.stdev(map(float, before)), statistics.stdev(map(float, after))
    changes = [float(later - first) for first, later in zip(before, after, strict=True)]
    sd_change = statistics.stdev(changes)
    sems = None
    s_diff = sd_change
    if not error.is_all_change:
        sems = error.standard_error(first_sd), error.standard_error(second_sd)
        s_diff = math.hypot(*sems)
    loss = Decimal(repr(_CONFIDENCE * s_diff)).quantize(_RESOLUTION)
    return ReliableChange(
        error=error,
        knees=len(before),
        sds=(first_sd, second_sd),
        sems=sems,
        sd_change=sd_change,
        s_diff=s_diff,
        threshold=-loss,
    )
