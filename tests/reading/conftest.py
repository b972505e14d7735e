"""A reading study of small volumes."""

import nibabel
import numpy as np
import pytest


def knee_volume(
    seed: int, shape=(24, 20, 7), spacing=(0.5, 0.5, 3.0), side="left", slices="coronal"
) -> nibabel.Nifti1Image:
    """Noise with a bright block, in the scanner's place of that side; axes run right to left, as scanners store them."""
    random = np.random.default_rng(seed)
    data = random.integers(20, 400, shape).astype(np.int16)
    data[shape[0] // 3 : shape[0] // 2, shape[1] // 3 : shape[1] // 2] += 300
    x = -90.0 if side == "left" else 90.0
    affine = np.eye(4)
    if slices == "coronal":  # columns to the left, rows up, slices to the front
        affine[:3, :3] = np.array([[-spacing[0], 0, 0], [0, 0, spacing[2]], [0, spacing[1], 0]])
    else:  # columns to the front, rows up, slices to the right
        affine[:3, :3] = np.array([[0, 0, spacing[2]], [spacing[0], 0, 0], [0, spacing[1], 0]])
    affine[:3, 3] = [x, 0, 0] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return nibabel.Nifti1Image(data, affine)


@pytest.fixture(scope="session")
def make_volume():
    return knee_volume
