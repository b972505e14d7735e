"""nibabel without pydicom, which it loads at its own start only to read the DICOM that a NIfTI extension may hold.

That is a tenth of a second of every command on volumes, and none of them reads such extensions.
Where pydicom is loaded already, or is loaded later, nothing is different.
"""

import sys

if "pydicom" in sys.modules:
    import nibabel
else:
    sys.modules["pydicom"] = None  # type: ignore[assignment]  # "not installed", to whoever asks now
    try:
        import nibabel
    finally:
        del sys.modules["pydicom"]

from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import io_orientation
from nibabel.wrapstruct import WrapStructError

__all__ = ["ImageFileError", "WrapStructError", "io_orientation", "nibabel"]
