import numpy as np
import pytest

from oatools.features.augment import Augmentation, augmented_copies

STILL = Augmentation(0.0, 0.0, 0.0, 0.0)
SHA = "0123456789abcdef" * 4


def disc(x, y, size=64):
    j, i = np.mgrid[:size, :size]
    return (np.hypot(i - x, j - y) < 4).astype(np.float32)[None, None]


def centre(image):
    j, i = np.mgrid[: image.shape[-2], : image.shape[-1]]
    return np.array([(image * i).sum(), (image * j).sum()]) / image.sum()


def test_without_any_range_nothing_changes():
    images = np.random.default_rng(0).random((2, 1, 32, 32)).astype(np.float32)
    for varied in augmented_copies(images, 3, 0, SHA, STILL):
        np.testing.assert_allclose(varied, images, atol=1e-6)


def test_turns_are_about_the_centre_and_within_their_range():
    image, middle = disc(50, 31.5), 31.5
    angles = []
    for varied in augmented_copies(
        image, 40, 1, SHA, Augmentation(rotation=10, shift=0, gain=0, gamma=0)
    ):
        x, y = centre(varied[0, 0]) - middle
        assert np.hypot(x, y) == pytest.approx(50 - middle, abs=0.2)
        angles.append(np.degrees(np.arctan2(y, x)))
    assert -10.5 < min(angles) < -6 and 6 < max(angles) < 10.5


def test_shifts_are_within_their_range_and_what_comes_in_is_black():
    places = [
        centre(v[0, 0])
        for v in augmented_copies(disc(31.5, 31.5), 40, 2, SHA, Augmentation(0, 0.05, 0, 0))
    ]
    moved = np.abs(np.array(places) - 31.5)
    assert moved.max() <= 0.05 * 64 + 0.1 and moved.max() > 2
    bright = np.ones((1, 1, 64, 64), np.float32)
    assert any(
        v[0, 0, 0].max() == 0 or v[0, 0, -1].max() == 0
        for v in augmented_copies(bright, 10, 2, SHA, Augmentation(0, 0.05, 0, 0))
    )


def test_left_stays_left():
    """A knee is never mirrored: what lies to the left of the middle stays there in every copy."""
    for varied in augmented_copies(disc(15, 31.5), 200, 3, SHA):
        assert centre(varied[0, 0])[0] < 28


def test_all_slices_of_a_volume_are_varied_alike_and_stay_in_range():
    images = np.repeat(
        np.random.default_rng(1).random((1, 1, 32, 32)).astype(np.float32), 3, axis=0
    )
    for varied in augmented_copies(images, 5, 4, SHA):
        assert np.array_equal(varied[0], varied[2]) and varied.min() >= 0 and varied.max() <= 1


def test_seed_and_volume_and_number_decide():
    images = disc(20, 31.5)
    first = list(augmented_copies(images, 3, 0, SHA))
    again = list(augmented_copies(images, 2, 0, SHA))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=False))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], next(augmented_copies(images, 1, 1, SHA)))
    assert not np.array_equal(first[0], next(augmented_copies(images, 1, 0, SHA[::-1])))
