import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from oatools.features import architectures
from oatools.features.backbone import initialise
from oatools.features.engine import EngineSettings
from oatools.imaging.volume import Volume, write_volume


@pytest.fixture(scope="session")
def knee():
    from oatools.phantom import anatomy, rendering, series

    made = anatomy.random_knee(np.random.default_rng(3), "left")
    shape, affine = series.grid(series.SEQUENCES["cor-iw-tse"], 64, "left", (95.0, 0.0, 0.0), 5.0)
    return Volume(
        np.asfortranarray(rendering.render(made, shape, affine, "iw").astype(np.float32)), affine
    )


@pytest.fixture(scope="session")
def knee_file(knee, tmp_path_factory):
    path = tmp_path_factory.mktemp("knee") / "9000001_00m_left_cor-iw-tse.nii.gz"
    write_volume(path, knee)
    return path


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """The file of a network with seeded weights and, as published files have, its classifier."""
    made = {}

    def make(name: str):
        if name not in made:
            torch.manual_seed(11)
            network = timm.create_model(name, pretrained=False)
            with torch.no_grad():
                initialise(network, 11)
            made[name] = tmp_path_factory.mktemp("weights") / f"{name}.safetensors"
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, made[name])
        return made[name]

    return make


@pytest.fixture
def settings(weights):
    """Engine settings for a backbone with the weights of such a file."""

    def make(name: str = "mobilenetv2_100", **more):
        return EngineSettings(name, str(weights(name)), **{"device": "cpu", **more})

    return make


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest cosine between rows."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(
        ((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()
    )


@pytest.fixture(scope="session", name="cosine")
def _cosine():
    return cosine


@pytest.fixture
def without_numbers():
    """Make a network of names and shapes alone, in no time at any size."""

    def make(name: str):
        try:
            with torch.device("meta"):
                return architectures.create(name)
        except RuntimeError as error:
            if "on meta tensors" not in str(error):
                raise
            pytest.skip("this timm cannot make networks without numbers")

    return make
