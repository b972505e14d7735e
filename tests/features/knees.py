"""Phantoms of a knee on any grid, with the truth of where their joint lies."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np

from oatools.imaging.volume import Volume
from oatools.phantom import anatomy, contrast, rendering, series

# World axes (0 right, 1 anterior, 2 superior) along the first axis, the second, and the slices.
AXES = {"sagittal": (1, 2, 0), "coronal": (0, 2, 1), "axial": (0, 1, 2)}
# Two contrasts that the study does not have: in both, marrow and fat are bright; fluid is dark in
# the first.
MORE = {
    "t1": (0.0, 0.35, 0.95, 0.40, 0.05, 0.85, 0.45, 0.12, 0.10, 0.22, 0.32, 0.30, 0.10),
    "pd": (0.0, 0.35, 0.78, 0.50, 0.06, 0.70, 0.72, 0.12, 0.10, 1.00, 0.50, 0.50, 0.15),
}


def turned(x, y, z):
    """The matrix that turns by angles about the three axes, degrees."""
    a, b, c = np.radians((x, y, z))
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    return np.array(about_x) @ np.array(about_y) @ np.array(about_z)


def phantom(
    seed=0,
    side="left",
    signal="iw-fs",
    plane="sagittal",
    field=(150, 150),
    spacing=(1.2, 1.2, 4.0),
    slices=28,
    off=(0, 0, 0),
    oblique=(0, 0, 0),
    progression=0.0,
    effusion=0.0,
):
    """A volume with noise, and the knee in it: the middle of the joint is off that of the field."""
    rng = np.random.default_rng(seed)
    knee = anatomy.random_knee(rng, side, size=rng.uniform(0.93, 1.07), fat=rng.uniform(5, 13))
    knee = replace(knee, progression=progression, effusion=effusion)
    shape = (*(round(f / s) for f, s in zip(field, spacing, strict=False)), slices)
    affine = np.eye(4)
    affine[:3, :3] = turned(*oblique) @ np.eye(3)[:, AXES[plane]] * spacing
    middle = truth(knee) + off
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    # Only while it is drawn, since other tests go through all contrasts that there are.
    mottling = dict.fromkeys(MORE, contrast.MOTTLING["iw"])
    with patch.dict(contrast.SIGNAL, MORE), patch.dict(contrast.MOTTLING, mottling):
        picture = rendering.render(knee, shape, affine, signal)
    pixels = series.digitise(picture.astype(np.float32), 0.025, rng)
    return Volume(np.asfortranarray(pixels), affine), knee


def truth(knee):
    """The origin of the knee's own frame in RAS mm: the joint line between the condyles."""
    lateral, anterior, superior = knee.centre
    return np.array([-lateral if knee.side == "left" else lateral, anterior, superior])
