"""Backbones that oatools knows by name beside timm's own, and where the weights of each come from.

Facts of timm's models are those of its registry; those of the others come from their authors'
repositories. What these do not say is said to be unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oatools.core.manifest import Row

COLUMNS = ("name", "size", "features", "parameters", "licence", "weights", "note")

_DINOV2 = "https://github.com/facebookresearch/dinov2"
_DINOV3 = "https://github.com/facebookresearch/dinov3"
_HUB = "https://huggingface.co/"
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Known:
    """A backbone: its name, images and features, its weights' licence, and where to get them.

    `size` is that of its images where no other is asked for; `parameters` are those of the network
    without a classifier; `note` says what a user should know.
    """

    name: str
    size: int
    features: int
    parameters: int
    licence: str
    weights: str
    note: str = ""

    def row(self) -> Row:
        """Return the backbone's row of the table of all, with the columns `COLUMNS`."""
        return {column: str(getattr(self, column)) for column in COLUMNS}


@dataclass(frozen=True)
class Own(Known):
    """A backbone that timm does not have by this name, and how its images are normalised."""

    mean: tuple[float, float, float] = _IMAGENET[0]
    std: tuple[float, float, float] = _IMAGENET[1]
    interpolation: str = "bicubic"


#: Backbones that are made here (see `architectures`), by name.
OWN = {
    each.name: each
    for each in (
        Own(
            name="radimagenet_resnet50",
            size=224,
            features=2048,
            parameters=23_508_032,
            licence="MIT (the authors' repository; terms of the weights themselves: unknown)",
            weights="https://github.com/BMEII-AI/RadImageNet",
            note="trained on CT, MRI and ultrasound; the weights made in PyTorch (ResNet50.pt), "
            "not those converted from Keras",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            interpolation="bilinear",
        ),
        Own(
            name="mri_core",
            size=224,
            features=768,
            parameters=85_798_656,
            licence="Apache-2.0",
            weights="https://github.com/mazurowski-lab/mri_foundation",
            note="MRI-CORE, trained on MRI by DINOv2's method (MRI_CORE_vitb.pth)",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        ),
        Own(
            name="curia",
            size=512,
            features=768,
            parameters=86_465_280,
            licence="RAIL-M, for research alone (to be accepted before the download)",
            weights=f"{_HUB}raidium/curia",
            note="trained on CT and MRI by DINOv2's method; each image is standardised by itself",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        ),
    )
}


def _imagenet() -> Iterator[Known]:
    """Yield the backbones of ImageNet that the manual names."""
    licence = "Apache-2.0"
    yield Known(
        "tf_efficientnet_lite0", 224, 1280, 3_371_008, licence, "installed with oatools", "default"
    )
    for name, parameters, tag in (
        ("efficientnet_b0", 4_007_548, "ra_in1k"),
        ("mobilenetv2_100", 2_223_872, "ra_in1k"),
    ):
        yield Known(name, 224, 1280, parameters, licence, f"{_HUB}timm/{name}.{tag}")
    yield Known("resnet50", 224, 2048, 23_508_032, licence, f"{_HUB}timm/resnet50.a1_in1k")


def _dino() -> Iterator[Known]:
    """Yield DINOv2's and DINOv3's vision transformers, by their names in timm."""
    for name, features, parameters in (
        ("vit_small_patch14_dinov2", 384, 22_056_192),
        ("vit_base_patch14_dinov2", 768, 86_579_712),
        ("vit_large_patch14_dinov2", 1024, 304_367_616),
        ("vit_giant_patch14_dinov2", 1536, 1_136_479_232),
        ("vit_small_patch14_reg4_dinov2", 384, 22_057_344),
        ("vit_base_patch14_reg4_dinov2", 768, 86_582_016),
        ("vit_large_patch14_reg4_dinov2", 1024, 304_370_688),
        ("vit_giant_patch14_reg4_dinov2", 1536, 1_136_483_840),
    ):
        weights = f"{_HUB}timm/{name}.lvd142m or {_DINOV2}"
        yield Known(name, 518, features, parameters, "Apache-2.0", weights)
    for name, features, parameters in (
        ("vit_small_patch16_dinov3", 384, 21_586_944),
        ("vit_small_plus_patch16_dinov3", 384, 28_683_264),
        ("vit_base_patch16_dinov3", 768, 85_641_216),
        ("vit_large_patch16_dinov3", 1024, 303_079_424),
        ("vit_huge_plus_patch16_dinov3", 1280, 840_509_440),
        ("vit_7b_patch16_dinov3", 4096, 6_716_030_976),
    ):
        weights = f"{_HUB}timm/{name}.lvd1689m or {_DINOV3}"
        licence = "DINOv3 License (to be accepted before the download)"
        note = "the features are the mean of the patches' tokens where nothing else is asked for"
        yield Known(name, 256, features, parameters, licence, weights, note)


KNOWN = (*_imagenet(), *_dino(), *OWN.values())


def rows() -> list[Row]:
    """Return the table of the backbones known here, with the columns `COLUMNS`."""
    return [known.row() for known in KNOWN]
