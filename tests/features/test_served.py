"""An engine that computes for other processes."""

import os
import signal
import time
from dataclasses import replace
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import numpy as np
import pytest

from oatools.core.errors import ItemError, UsageError
from oatools.core.process import Children
from oatools.core.replacing import Replace
from oatools.features.embed import EmbedSettings
from oatools.features.engine import EngineSettings
from oatools.features.engines import shared_batcher
from oatools.features.featurefile import read_features
from oatools.features.rows import embed_row
from oatools.features.served import EngineServer, ServedEngine, served_engine
from oatools.imaging.volume import Volume

SMALL = EngineSettings(
    "mobilenetv2_050", "random", seed=6, engine="torch", device="cpu", precision="float32"
).resolve()


@pytest.fixture(scope="module")
def server():
    return EngineServer([SMALL])


def volume(dtype=np.int16, shape=(40, 36, 3), order="F"):
    data = np.random.default_rng(5).integers(0, 900, shape)
    return Volume(np.array(data, dtype, order=order), np.diag([0.7, 0.7, 3.0, 1.0]))


def test_volumes_of_all_kinds_and_sizes_have_their_own_features(server):
    served, (batcher, _) = ServedEngine(server.address), shared_batcher(SMALL)
    assert (served.record, served.name) == (batcher.record, batcher.name)
    preprocessing = EmbedSettings(SMALL).preprocessing(served.record)
    # Larger, smaller and larger ones again: the memory grows once, and old voxels stay behind.
    for each in (
        volume(),
        volume(np.float32, (50, 60, 5)),
        volume(np.uint8, (20, 20, 2), "C"),
        volume(np.int32, (64, 64, 6)),
    ):
        found = served.volume_features(each, preprocessing)
        assert np.array_equal(found, batcher.volume_features(each, preprocessing))


def test_images_have_their_features(server):
    served, (batcher, _) = ServedEngine(server.address), shared_batcher(SMALL)
    images = np.random.default_rng(1).random((3, 1, 224, 224), dtype=np.float32)
    assert np.array_equal(served.features(images), batcher.features(images))


def test_what_is_wrong_is_said_to_the_one_who_asked_and_the_next_volume_goes_on(server):
    served = ServedEngine(server.address)
    preprocessing = EmbedSettings(SMALL).preprocessing(served.record)
    with pytest.raises(ItemError, match="do not vary .*; drop the row"):
        served.volume_features(Volume(np.ones((9, 9, 2), np.int16), np.eye(4)), preprocessing)
    with pytest.raises(RuntimeError, match="RuntimeError: The expanded size"):
        served.features(np.zeros((1, 5, 224, 224), np.float32))
    assert served.volume_features(volume(), preprocessing).shape == (3, 1280)


def test_an_engine_that_cannot_be_had_is_said_to_everybody_and_tried_once(tmp_path, weights):
    path = tmp_path / "w.safetensors"
    settings = replace(SMALL, backbone="mobilenetv2_100", weights=str(path))
    address = EngineServer([settings]).address
    for _ in range(2):
        with pytest.raises(UsageError, match="no such weights file"):
            ServedEngine(address)
        path.write_bytes(weights("mobilenetv2_100").read_bytes())


def test_who_does_not_have_the_key_is_not_served(server):
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client(server.address.name, "AF_UNIX", authkey=b"another")
    assert ServedEngine(server.address).record.name == "mobilenetv2_050"


def test_processes_are_dealt_to_the_engines_in_turn():
    other = replace(SMALL, seed=7)
    both = EngineServer([SMALL, other])
    seeds = [ServedEngine(both.address).record.weights.seed for _ in range(4)]
    assert sorted(seeds) == [6, 6, 7, 7] and seeds[0] != seeds[1]


def test_rows_in_other_processes_have_the_bytes_of_rows_here(server, knee_file, tmp_path):
    """With copies, which are made of images; and after another process was killed."""
    settings = EmbedSettings(SMALL, slices=2, augment=1)
    row = {"knee": "9000001_00m_left", "path": str(knee_file)}
    here = embed_row(row, tmp_path / "here", settings, replacing=Replace.NOTHING)
    opened = partial(served_engine, server.address)
    children = Children(
        partial(
            embed_row,
            out=tmp_path / "there",
            settings=settings,
            replacing=Replace.ANYTHING,
            opened=opened,
        )
    )
    killed = children.start()
    killed.do(row)
    os.kill(killed._pid, signal.SIGKILL)
    there = children.start().do(row)
    children.close()
    assert there.cells["path"] == str(tmp_path / "there/9000001_00m_left.h5")
    assert Path(there.cells["path"]).read_bytes() == Path(here.cells["path"]).read_bytes()


def test_notes_of_an_engine_are_told_once(monkeypatch, tmp_path):
    from oatools.features import engine

    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu sse4_2 avx2 fma\n")
    monkeypatch.setattr(engine, "_CPUINFO", tmp_path / "cpuinfo")
    said = ("this processor does not compute in bf16: float32 is closer, and faster",)
    settings = replace(SMALL, precision="bf16", seed=8)
    address = EngineServer([settings]).address
    assert served_engine(address, settings)[1] == said
    assert served_engine(address, settings)[1] == ()
    assert ServedEngine(address).notes == ()


def test_leaving_a_server_waits_for_what_it_does():
    """Even if nobody does any more: its thread is in PyTorch."""
    with EngineServer([replace(SMALL, seed=9)]) as server:
        Client(server.address.name, "AF_UNIX", authkey=server.address.key).close()
        while not server._serving:
            time.sleep(0.001)
    assert not any(thread.is_alive() for thread in server._serving)


#: oa-embed as on a GPU, whatever the device: an engine in PyTorch that serves processes.
AS_ON_A_GPU = (
    "from oatools.features.engine import EngineSettings; "
    "EngineSettings.on_gpu = property(lambda settings: True); "
    "from oatools.commands.start import embed; embed()"
)


def test_the_command_serves_its_rows(shell, knee_file, tmp_path):
    settings = EmbedSettings(replace(SMALL, seed=0), slices=2)
    row = {"knee": "9000001_00m_left", "path": str(knee_file)}
    here = embed_row(row, tmp_path / "here", settings, replacing=Replace.NOTHING)
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    done = shell(
        f'python -c "{AS_ON_A_GPU}" --weights random --backbone mobilenetv2_050 --slices 2 '
        f"--precision float32 --device cpu --batch-size 2 {knee_file} empty.nii.gz -o there",
        status=1,
    )
    assert "empty: " in done.stderr and "1 done, 0 kept, 1 failed" in done.stderr
    (there,) = (tmp_path / "there").glob("*.h5")
    found, expected = read_features(there), read_features(here.cells["path"])
    assert np.array_equal(found.features, expected.features)
    assert found.provenance["engine"] == expected.provenance["engine"]


def test_an_engine_that_fails_is_tried_once_and_the_command_does_not_abort(
    shell, knee_file, tmp_path
):
    """Threads that are in PyTorch while the process ends would."""
    for name in "abc":
        (tmp_path / f"{name}.nii.gz").write_bytes(knee_file.read_bytes())
    done = shell(
        f'python -c "{AS_ON_A_GPU}" --weights random --backbone mobilenetv2_050 '
        "--device cuda:99 [abc].nii.gz -o f -j 3",
        status=2,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("oa-embed: device 'cuda:99' cannot be used")
