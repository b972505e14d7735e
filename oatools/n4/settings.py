"""The settings of the bias correction, apart from the work: `oa-n4 --help` imports no NumPy."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class N4Settings:
    """The settings of `correct`, under the names of oa-n4's options.

    engine       `fast` is our own implementation, `itk` SimpleITK's filter with the same settings
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
    """

    engine: Literal["fast", "itk"] = "fast"
    start: Literal["gradient", "flat"] = "gradient"
    mask: str = "air"
    floor: float | None = None
    shrink: tuple[int, int, int] | None = None
    iterations: tuple[int, ...] = (50, 50)
    convergence: float = 0.001
    spans: tuple[int, int, int] = (1, 1, 1)
    fwhm: float = 0.15
    noise: float = 0.01
    bins: int = 200
