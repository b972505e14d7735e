import json
import os
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from oatools.core.errors import UsageError
from oatools.features.engine import EngineSettings, best_device, lacks_bf16, usable_cores
from oatools.features.engines import open_engine

NETWORKS = ["efficientnet_b0", "mobilenetv2_100", "vit_tiny_patch16_224"]


@pytest.fixture(scope="module")
def pixels():
    """Smooth images, as far from noise as a knee."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((6, 1, 12, 12)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, (224, 224), mode="bicubic").clamp(0, 1).numpy()


def by_timm(name, path, images):
    """The features by timm alone: its own model, mean and deviation."""
    network = timm.create_model(name, pretrained=False).eval()
    network.load_state_dict(load_file(path))
    network.reset_classifier(0)
    config = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    grey = torch.from_numpy(images)
    with torch.no_grad():
        return network(
            ((torch.cat([grey] * 3, dim=1) if grey.shape[1] == 1 else grey) - mean) / std
        ).numpy()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("precision, closeness", [("float32", 0.99999), ("bf16", 0.999)])
def test_every_engine_gives_timms_features(
    name, engine, precision, closeness, weights, settings, pixels, cosine
):
    expected = by_timm(name, weights(name), pixels)
    opened = open_engine(settings(name, engine=engine, precision=precision))
    found = np.concatenate([opened(pixels[k : k + 2]) for k in (0, 2, 4)])
    assert (
        found.shape == expected.shape == (6, opened.record.channels) and found.dtype == np.float32
    )
    assert cosine(found, expected) >= closeness
    # Beyond what all slices share, too: a constant vector would pass the cosine.
    spread = (expected - expected.mean(axis=0)).std()
    assert (found - expected).std() < (1e-3 if precision == "float32" else 0.2) * spread
    assert opened.name.startswith(engine)


def test_three_channels_are_three_channels(weights, settings):
    rng = np.random.default_rng(4)
    images = rng.random((2, 3, 224, 224)).astype(np.float32)
    expected = by_timm("mobilenetv2_100", weights("mobilenetv2_100"), images)
    for engine in ("openvino", "torch"):
        found = open_engine(settings(engine=engine, channels=3))(images)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_neighbours_order_and_fill_of_a_batch_change_nothing(engine, settings, pixels):
    opened = open_engine(settings(engine=engine, batch=4))
    whole = opened(pixels[:4])
    turned = opened(pixels[[3, 5, 1, 0]])
    assert np.array_equal(turned[[3, 2, 0]], whole[[0, 1, 3]])
    assert np.array_equal(opened(pixels[2:3])[0], whole[2])
    assert np.array_equal(
        open_engine(settings(engine=engine, batch=4, threads=2))(pixels[:4]), whole
    )


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_the_batch_size_changes_nothing_beyond_rounding(engine, settings, pixels):
    one = open_engine(settings(engine=engine, batch=1))
    six = open_engine(settings(engine=engine, batch=6))(pixels)
    singly = np.concatenate([one(p[None]) for p in pixels])
    np.testing.assert_allclose(singly, six, rtol=1e-4, atol=1e-5 * np.abs(six).max())


def test_an_exported_network_is_kept_and_opened_without_pytorch(
    settings, pixels, tmp_path, monkeypatch, shell
):
    monkeypatch.setenv("OATOOLS_CACHE", str(tmp_path / "kept"))
    chosen = settings()
    first = open_engine(chosen)(pixels[:2])
    (folder,) = (tmp_path / "kept").iterdir()
    assert json.loads((folder / "record.json").read_text())["record"]["name"] == "mobilenetv2_100"
    code = (
        "import sys, numpy as np; from oatools.features.engine import EngineSettings; "
        "from oatools.features.engines import open_engine; "
        f"s = EngineSettings('mobilenetv2_100', {chosen.weights!r}, device='cpu'); "
        "e = open_engine(s); "
        "np.save('out.npy', e(np.load('in.npy'))); assert not {'torch', 'timm'} & set(sys.modules)"
    )
    np.save(tmp_path / "in.npy", pixels[:2])
    shell(f'python -c "{code}"', OATOOLS_CACHE=str(tmp_path / "kept"))
    assert np.array_equal(np.load(tmp_path / "out.npy"), first)


def test_who_exports_a_network_computes_what_later_ones_do(settings, pixels, tmp_path, monkeypatch):
    monkeypatch.setenv("OATOOLS_CACHE", str(tmp_path))
    chosen = settings("mobilenetv2_050", precision="bf16", channels=3)
    trios = pixels.reshape(2, 3, 224, 224)
    exporting, later = (open_engine(chosen)(trios) for _ in range(2))
    assert np.array_equal(exporting, later)


def test_a_damaged_export_is_made_anew(settings, pixels, tmp_path, monkeypatch):
    monkeypatch.setenv("OATOOLS_CACHE", str(tmp_path))
    expected = open_engine(settings())(pixels[:2])
    (folder,) = tmp_path.iterdir()
    numbers = folder / "network0.bin"
    whole = numbers.read_bytes()
    # Weights, not the shapes before them, which OpenVINO itself would find wrong.
    changed = bytes(b ^ 1 for b in whole[-40000:-20000])
    numbers.write_bytes(whole[:-40000] + changed + whole[-20000:])
    assert np.array_equal(open_engine(settings())(pixels[:2]), expected)
    assert numbers.read_bytes() == whole and [p.name for p in tmp_path.iterdir()] == [folder.name]


def test_a_cache_that_cannot_be_written_is_said_and_stops_nothing(
    settings, pixels, tmp_path, monkeypatch
):
    expected = open_engine(settings())(pixels[:2])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OATOOLS_CACHE", str(tmp_path / "file"))
    opened = open_engine(settings())
    assert "cannot be kept" in opened.notes[0] and np.array_equal(opened(pixels[:2]), expected)


def test_other_weights_under_the_same_name_are_another_export(settings, pixels, tmp_path, weights):
    import shutil

    copy = tmp_path / "w.safetensors"
    shutil.copy(weights("mobilenetv2_100"), copy)
    first = open_engine(EngineSettings("mobilenetv2_100", str(copy)))
    content = bytearray(copy.read_bytes())
    content[-5000:] = bytes(5000)
    copy.write_bytes(bytes(content))
    second = open_engine(EngineSettings("mobilenetv2_100", str(copy)))
    assert first.record.weights.label() == second.record.weights.label() == "file w.safetensors"
    assert first.record.weights.sha256 != second.record.weights.sha256
    assert not np.array_equal(first(pixels[:2]), second(pixels[:2]))


def test_weights_that_bear_another_name_are_called_by_it(settings, weights, tmp_path):
    import shutil

    first = open_engine(settings()).record
    shutil.copy(weights("mobilenetv2_100"), tmp_path / "other.safetensors")
    second = open_engine(
        EngineSettings("mobilenetv2_100", str(tmp_path / "other.safetensors"))
    ).record
    assert second.weights.label() == "file other.safetensors"
    assert second.weights.sha256 == first.weights.sha256


def test_a_network_that_cannot_be_exported_is_computed_by_pytorch_and_said(
    settings, pixels, monkeypatch, tmp_path
):
    from oatools.features import openvino

    monkeypatch.setenv("OATOOLS_CACHE", str(tmp_path))

    def fail(*_):
        raise RuntimeError("Check failed\n\nno such operation: strange")

    monkeypatch.setattr(openvino, "_convert", fail)
    opened = open_engine(settings())
    assert opened.name.startswith("torch") and "no such operation: strange" in opened.notes[0]
    with pytest.raises(UsageError, match="openvino cannot take mobilenetv2_100 .*use engine torch"):
        open_engine(settings(engine="openvino"))


@pytest.mark.parametrize(
    "device, jobs, precision, threads, volumes",
    [
        ("cpu", None, "float32", 1, 3),
        ("cpu", 1, "float32", 1, 3),
        ("cpu", 8, "float32", 8, 10),
        ("cuda", None, "float16", 2, 6 + 2),  # a reader a core
        ("cuda", 3, "float16", 2, 5),
        ("cuda:1", 40, "float16", 2, 42),
    ],
)
def test_a_device_decides_on_precision_and_threads(
    device, jobs, precision, threads, volumes, monkeypatch
):
    monkeypatch.setattr("oatools.features.engine.usable_cores", lambda: 6)
    settled = EngineSettings(device=device).resolve(jobs)
    assert (settled.device, settled.precision, settled.threads) == (device, precision, threads)
    assert settled.volumes_in_hand(jobs) == volumes
    assert settled.resolve() == settled


def test_a_gpu_gets_no_more_than_32_readers_unless_they_are_asked_for(monkeypatch):
    monkeypatch.setattr("oatools.features.engine.usable_cores", lambda: 64)
    settled = EngineSettings(device="cuda").resolve()
    assert settled.volumes_in_hand() == 34 and settled.volumes_in_hand(64) == 66


def test_what_is_asked_for_stays(monkeypatch):
    monkeypatch.setattr("oatools.features.engine.best_device", lambda device: "cuda")
    asked = EngineSettings(precision="bf16", threads=5)
    assert asked.resolve(2) == replace(asked, device="cuda")


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"engine": "onnx"}, "no engine 'onnx'; give engine as one of auto, openvino, torch"),
        (
            {"precision": "fp16"},
            "no precision 'fp16'; give precision as one of auto, float32, bf16",
        ),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"threads": 0}, "threads is 0; it must be at least 1"),
    ],
)
def test_settings_that_no_engine_has_are_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        EngineSettings(**wrong)


def test_float16_is_refused_on_a_cpu():
    with pytest.raises(UsageError, match="float16 is for a GPU; use bf16 on a CPU"):
        EngineSettings(device="cpu", precision="float16").resolve()


@pytest.mark.parametrize(
    "cpuinfo, lacks",
    [
        ("flags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n", False),
        ("flags\t\t: avx512_vnni amx_bf16 amx_tile\n", False),
        ("Features\t: fp asimd sve i8mm bf16 dgh\n", False),
        ("Features\t: fp asimd crc32\n", True),
        (None, False),
    ],
)
def test_a_processor_tells_whether_it_computes_in_bf16(cpuinfo, lacks, monkeypatch, tmp_path):
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr("oatools.features.engine._CPUINFO", tmp_path / "cpuinfo")
    assert lacks_bf16() == lacks


def test_cores_are_counted_where_the_system_has_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert usable_cores() == 12


def test_openvino_is_not_for_gpus(settings):
    with pytest.raises(UsageError, match="use engine torch"):
        open_engine(settings(engine="openvino", device="cuda"))


def test_a_device_that_is_not_there_is_one_line():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="device 'cuda:3' cannot be used .*try device cpu"):
        open_engine(EngineSettings("mobilenetv2_100", "random", device="cuda:3"))
    assert best_device("auto") == "cpu"


def test_a_gpu_gives_the_features_of_the_cpu(settings, pixels, cosine):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    expected = open_engine(settings())(pixels[:2])
    for precision, closeness in (("float32", 0.99999), ("float16", 0.9999), ("bf16", 0.999)):
        assert (
            cosine(open_engine(settings(device="cuda", precision=precision))(pixels[:2]), expected)
            >= closeness
        )
