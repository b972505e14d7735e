"""SimpleITK's N4 filter on the samples that our own engine would take.

SimpleITK takes half a second to import, for which a run of our own engine does not wait.
"""

from typing import TYPE_CHECKING

import numpy as np

from oatools.core.errors import ItemError
from oatools.n4.arrays import Array, Floats
from oatools.n4.bspline import ORDER
from oatools.n4.field import FitSettings, Level
from oatools.n4.samples import Samples

if TYPE_CHECKING:
    import SimpleITK as sitk


def fit_log_field(samples: Samples, settings: FitSettings) -> tuple[Floats, Level]:
    """Fit a field with the filter, which evaluates it on the volume's grid by itself.

    Returns its natural logarithm and what the last level did.
    """
    import SimpleITK as sitk

    image = _image(samples.image, samples)
    mask = _image(samples.mask.astype(np.uint8), samples)
    full_grid = sitk.Image([int(n) for n in samples.shape], sitk.sitkFloat32)
    n4 = _filter(settings)
    try:
        n4.Execute(image, mask)
        log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full_grid)).T
    except RuntimeError as error:
        last_line = str(error).strip().splitlines()[-1]
        raise ItemError(f"N4 failed ({last_line})", "try `mask` none") from None
    level = Level(
        settings.spans,
        iterations=int(n4.GetElapsedIterations()),
        convergence=float(n4.GetCurrentConvergenceMeasurement()),
    )
    return log_field, level


def _filter(settings: FitSettings) -> "sitk.N4BiasFieldCorrectionImageFilter":
    import SimpleITK as sitk

    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(settings.iterations)
    n4.SetConvergenceThreshold(settings.convergence)
    n4.SetNumberOfControlPoints([spans + ORDER for spans in settings.spans])
    n4.SetBiasFieldFullWidthAtHalfMaximum(settings.fwhm)
    n4.SetWienerFilterNoise(settings.noise)
    n4.SetNumberOfHistogramBins(settings.bins)
    return n4


def _image(values: Array, samples: Samples) -> "sitk.Image":
    """The samples as an image in voxel coordinates, each in the middle of its box."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    image.SetSpacing([float(factor) for factor in samples.shrink])
    image.SetOrigin([(factor - 1) / 2 for factor in samples.shrink])
    return image
