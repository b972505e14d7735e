import io

import matplotlib.image
import numpy as np
import pytest

from oatools.explain.explanation import Explanation
from oatools.explain.montage import MeanPicture, Montage, draw_montage
from oatools.imaging.volume import Volume

VOLUME = Volume(np.arange(6 * 5 * 4, dtype=np.float32).reshape(6, 5, 4), np.eye(4))


@pytest.mark.parametrize("count, expected", [(1, [2]), (2, [1, 2]), (12, [1, 2])])
def test_a_montage_shows_the_slices_with_most_attention_and_none_unseen(count, expected):
    found = Explanation(0.5, np.array([0.0, 0.4, 0.6, 0.0]), np.zeros((6, 5, 4), np.float32))
    montage = Montage(VOLUME, found, "knee", [], "coronal", count=count)
    assert montage.chosen() == expected


def test_without_attention_a_montage_shows_the_slices_with_most_heat():
    heat = np.zeros((6, 5, 4), np.float32)
    heat[1, 1], heat[2, 2, 0] = [0, 0.1, 0.3, 0.2], 9  # the first slice was not seen
    found = Explanation(0.5, np.array([0, 1, 1, 1]) / 3, heat, has_attention=False)
    montage = Montage(VOLUME, found, "knee", [], "coronal", count=2)
    assert montage.chosen() == [2, 3]


def test_mean_pictures_show_the_slices_with_most_heat_of_all_maps_together():
    one, other = np.zeros((2, 6, 5, 4))
    one[0, 0, 3], other[1, 1, 3], other[2, 2, 0] = 1, 1, 1.5
    picture = MeanPicture(VOLUME, {"a": one, "b": other}, "mean", [], "coronal", "heat", count=2)
    assert picture.chosen() == [0, 3]
    cold = MeanPicture(VOLUME, {"a": np.zeros((6, 5, 4))}, "mean", [], "coronal", "heat")
    assert cold.chosen() == [0]


def test_the_same_picture_has_the_same_bytes():
    heat = np.random.default_rng(0).random((6, 5, 4)).astype(np.float32)
    found = Explanation(0.5, np.full(4, 0.25), heat)
    montage = Montage(VOLUME, found, "a knee", ["a note"], "sagittal", reference="right")
    assert draw_montage(montage) == draw_montage(montage)


def test_the_bar_has_the_colours_that_stand_in_the_picture():
    """Heat is seen through, so that one colour looks different over dark and over bright tissue."""
    data = np.zeros((40, 40, 1), np.float32)
    data[20:] = 1000.0
    found = Explanation(0.5, np.ones(1), np.full((40, 40, 1), 0.7, np.float32))
    drawn = draw_montage(Montage(Volume(data, np.eye(4)), found, "knee", [], "coronal"))
    picture = matplotlib.image.imread(io.BytesIO(drawn))[:, :, :3]
    height, width = picture.shape[:2]
    overlay = picture[int(0.5 * height) : int(0.7 * height), : int(0.8 * width)].reshape(-1, 3)
    colours, counts = np.unique(overlay, axis=0, return_counts=True)
    is_coloured = colours.std(axis=1) > 0.05
    over_dark, over_bright = colours[is_coloured][np.argsort(-counts[is_coloured])[:2]]
    assert np.abs(over_dark - over_bright).max() > 0.2
    bar = picture[:, int(0.85 * width) :].reshape(-1, 3)
    for colour in (over_dark, over_bright):
        assert np.abs(bar - colour).max(axis=1).min() < 0.01


def test_a_dollar_in_a_name_or_an_endpoint_is_no_formula():
    found = Explanation(0.5, np.full(4, 0.25), np.zeros((6, 5, 4), np.float32))
    title, notes = r"a$\frac$: probability 0.50", [r"$\endpoint$: positive", "a$b$"]
    montage = Montage(VOLUME, found, title, notes, "coronal", scale=r"$\x$")
    assert draw_montage(montage).startswith(b"\x89PNG")
