"""The settings of the bias correction, apart from the work: `oa-n4 --help` imports no NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from oatools.core.errors import UsageError

#: The masks that are made of the volume itself.
NAMED_MASKS = ("air", "log-otsu", "otsu", "none")

_FEWEST_BINS = 16
_MOST_LEVELS = 8


@dataclass(frozen=True)
class N4Settings:
    """The settings of `correct_bias`, under the names of oa-n4's options.

    engine       `fast` is our own implementation, `itk` SimpleITK's filter with the same settings
    weights      `brightness` gives a sample the square of its intensity as weight, `equal` the same
                 to all; SimpleITK's filter knows no others than equal ones
    start        `gradient` starts N4 from the field that small steps inside tissues show, `flat`
                 from none
    mask         samples that the field is fitted to: `air` (all but air, where there is any that
                 can be told from tissue), `log-otsu`, `otsu`, `none`, or the path of a volume
    floor        intensity of air, whose noise is taken off the samples; 0 for none, and None for
                 what is found in the volume
    shrink       voxels of a sample's box along each axis; None for boxes of about 3 mm
    iterations   most iterations at each level of the field, coarse to fine
    convergence  coefficient of variation of a change of the field, at which a level ends
    spans        intervals of the first level's spline along each axis; each level doubles them
    fwhm         full width at half maximum of the field's log histogram
    noise        noise of the Wiener filter that sharpens the histogram
    bins         bins of the histogram

    Raises a `UsageError` for a value that has no meaning.
    """

    engine: Literal["fast", "itk"] = "fast"
    start: Literal["gradient", "flat"] = "gradient"
    weights: Literal["brightness", "equal"] = "brightness"
    mask: str = "air"
    floor: float | None = None
    shrink: tuple[int, int, int] | None = None
    iterations: tuple[int, ...] = (20, 8, 4)
    convergence: float = 0.001
    spans: tuple[int, int, int] = (2, 2, 2)
    fwhm: float = 0.15
    noise: float = 0.01
    bins: int = 200

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_lists()
        self._check_numbers()

    @property
    def mask_file(self) -> Path | None:
        """The volume that the mask is taken from, if it is."""
        return None if self.mask in NAMED_MASKS else Path(self.mask)

    def _check_choices(self) -> None:
        if self.engine not in ("fast", "itk"):
            raise UsageError(f"no engine '{self.engine}'", "give `engine` as fast or itk")
        if self.start not in ("gradient", "flat"):
            raise UsageError(f"no start '{self.start}'", "give `start` as gradient or flat")
        if self.weights not in ("brightness", "equal"):
            raise UsageError(
                f"no weights '{self.weights}'", "give `weights` as brightness or equal"
            )

    def _check_lists(self) -> None:
        if self.shrink is not None and not _are_counts(self.shrink, range(3, 4)):
            raise UsageError(
                f"shrink is {self.shrink}", "give `shrink` as three numbers of at least 1"
            )
        if not _are_counts(self.spans, range(3, 4)):
            raise UsageError(
                f"spans is {self.spans}", "give `spans` as three numbers of at least 1"
            )
        if not _are_counts(self.iterations, range(1, _MOST_LEVELS + 1)):
            raise UsageError(
                f"iterations is {self.iterations}",
                f"give `iterations` as 1 to {_MOST_LEVELS} numbers of at least 1",
            )

    def _check_numbers(self) -> None:
        # Written so that a NaN, which compares with nothing, is refused too.
        if self.floor is not None and not self.floor >= 0:
            raise UsageError(f"floor is {self.floor}", "give a `floor` that is not negative")
        if not self.convergence >= 0:
            raise UsageError(
                f"convergence is {self.convergence}", "give a `convergence` that is not negative"
            )
        if not self.fwhm > 0:
            raise UsageError(f"fwhm is {self.fwhm}", "give a positive `fwhm`")
        if not self.noise > 0:
            raise UsageError(f"noise is {self.noise}", "give a positive `noise`")
        if self.bins < _FEWEST_BINS:
            raise UsageError(f"bins is {self.bins}", f"give `bins` of at least {_FEWEST_BINS}")


def _are_counts(numbers: Sequence[int], lengths: range) -> bool:
    """True for so many numbers as `lengths` allows, of which none is below 1."""
    return len(numbers) in lengths and min(numbers) >= 1
