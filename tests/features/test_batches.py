import threading
import time

import numpy as np
import pytest
import torch

from oatools.core.errors import ItemError
from oatools.features.batches import Batcher


class Doubling:
    """An engine that doubles its images, remembers its batches, and can wait or fail."""

    batch = 4

    def __init__(self, pause=0.0):
        self.sizes, self.pause, self.poison = [], pause, None

    def __call__(self, images):
        self.sizes.append(len(images))
        time.sleep(self.pause)
        if self.poison is not None and (images == self.poison).any():
            raise RuntimeError("poisoned")
        return images * 2


def together(calls):
    results = [None] * len(calls)

    def run(place):
        try:
            results[place] = calls[place]()
        except RuntimeError as error:
            results[place] = str(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.mark.parametrize("threads", [1, 3])
def test_every_volume_gets_its_own_features_in_order(threads):
    engine = Doubling(0.001)
    batcher = Batcher(engine, threads)
    rng = np.random.default_rng(0)
    volumes = [rng.random((n, 2)) for n in rng.integers(1, 12, 30)]
    for found, volume in zip(
        together([lambda v=v: batcher.features(v) for v in volumes]), volumes, strict=True
    ):
        assert np.array_equal(found, volume * 2)
    assert sum(engine.sizes) == sum(map(len, volumes)) and max(engine.sizes) <= 4


def test_slices_of_many_volumes_share_batches():
    engine = Doubling()
    batcher = Batcher(engine, 1)
    gate = threading.Barrier(6)

    def one(k):
        with batcher.preparing():
            gate.wait()
        return batcher.features(np.full((2, 1), k))

    together([lambda k=k: one(k) for k in range(6)])
    assert sum(engine.sizes) == 12 and len(engine.sizes) <= 4


def test_tensors_of_many_volumes_share_batches_with_arrays():
    class Tensors(Doubling):
        def __call__(self, images):
            return super().__call__(torch.as_tensor(images)).numpy()

    batcher = Batcher(Tensors(0.01), 1)
    rng = np.random.default_rng(2)
    volumes = [rng.random((n, 2)) for n in (3, 1, 2, 3, 2, 1)]
    given = [torch.from_numpy(v) if k % 3 else v for k, v in enumerate(volumes)]
    for found, volume in zip(
        together([lambda v=v: batcher.features(v) for v in given]), volumes, strict=True
    ):
        assert np.array_equal(found, volume * 2)
    assert max(batcher.engine.sizes) <= 4 and sum(batcher.engine.sizes) == 12


def test_a_batch_that_is_not_full_waits_for_slices_on_their_way():
    engine = Doubling()
    batcher = Batcher(engine, 1)
    begun, finish = threading.Event(), threading.Event()

    def slow():
        with batcher.preparing():
            begun.set()
            finish.wait()
        return batcher.features(np.ones((2, 1)))

    def quick():
        begun.wait()
        threading.Timer(0.2, finish.set).start()
        return batcher.features(np.zeros((2, 1)))

    together([slow, quick])
    assert engine.sizes == [4]


def test_what_the_engine_raises_reaches_the_volumes_of_that_batch_alone():
    engine = Doubling()
    engine.poison = 13
    batcher = Batcher(engine, 1)
    good, bad = together(
        [lambda: batcher.features(np.zeros((4, 1))), lambda: batcher.features(np.full((4, 1), 13))]
    )
    assert np.array_equal(good, np.zeros((4, 1))) and bad == "poisoned"
    assert np.array_equal(batcher.features(np.ones((4, 1))), np.full((4, 1), 2))


def test_no_images_are_refused_instead_of_waited_for():
    batcher = Batcher(Doubling(), 1)
    with pytest.raises(ItemError, match="no slices to compute features of; choose other slices"):
        batcher.features(np.zeros((0, 1)))
    assert np.array_equal(batcher.features(np.ones((1, 1))), [[2]])
