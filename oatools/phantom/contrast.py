"""The tissues that a knee is made of, and their signal in each contrast."""

from enum import IntEnum


class Tissue(IntEnum):
    """The material of a voxel; the values of `rendering.tissue_map`."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    CORTEX = 4
    MARROW = 5
    CARTILAGE = 6
    MENISCUS = 7
    LIGAMENT = 8
    FLUID = 9
    SYNOVIUM = 10
    LESION = 11
    VESSEL = 12


#: Mean signal of each tissue, in the order of `Tissue`, relative to the brightest fluid.
SIGNAL: dict[str, tuple[float, ...]] = {
    # intermediate weighting: fat, marrow and fluid bright, cartilage between, oedema dark in the
    # marrow
    "iw": (0.0, 0.35, 0.72, 0.30, 0.06, 0.64, 0.48, 0.10, 0.08, 1.00, 0.36, 0.12, 0.08),
    # fat suppressed: marrow dark, fluid and oedema bright
    "iw-fs": (0.0, 0.22, 0.17, 0.36, 0.05, 0.14, 0.58, 0.12, 0.08, 1.00, 0.34, 0.80, 0.15),
    # double echo steady state, water excitation: cartilage bright
    "dess-we": (0.0, 0.25, 0.16, 0.38, 0.05, 0.12, 0.70, 0.16, 0.10, 1.00, 0.36, 0.52, 0.75),
    # short tau inversion recovery: fat nulled, fluid and oedema bright
    "stir": (0.0, 0.18, 0.08, 0.34, 0.04, 0.07, 0.45, 0.10, 0.07, 1.00, 0.40, 0.82, 0.20),
    # proton density with fat saturation: cartilage brighter than in "iw-fs"
    "pd-fs": (0.0, 0.24, 0.20, 0.40, 0.06, 0.17, 0.66, 0.14, 0.09, 1.00, 0.38, 0.74, 0.20),
}

#: Depth of the fine texture of each tissue, as a fraction of its signal.
TEXTURE: dict[Tissue, float] = {Tissue.FAT: 0.04, Tissue.MARROW: 0.06, Tissue.MUSCLE: 0.08}

#: Depth of the coarse mottling of each tissue (`anatomy.Mottling`), likewise. Fat is never
#: suppressed evenly.
MOTTLING: dict[str, dict[Tissue, float]] = {
    name: {
        Tissue.MARROW: 0.05 if name == "iw" else 0.08,
        Tissue.MUSCLE: 0.035,
        Tissue.FAT: 0.05 if name == "iw" else 0.10,
    }
    for name in SIGNAL
}
