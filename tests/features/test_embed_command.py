import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from oatools.commands.embed import main
from oatools.core.errors import ItemError
from oatools.features.embed import checked

from ..conftest import rewrite_attributes


def read(path):
    with h5py.File(path) as file:
        arrays = {name: file[name][...] for name in file}
        return arrays, {key: file.attrs[key] for key in file.attrs}


def by_hand(path, backbone, weights):
    """The features by nibabel, NumPy, Pillow and timm, step by step."""
    import nibabel

    image = nibabel.load(path)
    data = np.asarray(image.dataobj, dtype=np.float64)
    low, high = np.percentile(data[data > 0], [1, 99])
    data = np.clip((data - low) / (high - low), 0, 1).astype(np.float32)
    assert data.shape[0] == data.shape[1]
    network = timm.create_model(backbone, pretrained=False).eval()
    network.load_state_dict(load_file(weights))
    network.reset_classifier(0)
    config = timm.data.resolve_model_data_config(network)
    filter_ = getattr(Image.Resampling, config["interpolation"].upper())
    size = config["input_size"][1:]
    pixels = np.stack(
        [
            np.asarray(Image.fromarray(data[:, ::-1, k].T).resize(size, filter_))
            for k in range(data.shape[2])
        ]
    )
    pixels = np.clip(pixels, 0, 1)[:, None].repeat(3, axis=1)
    mean, std = (np.array(config[k], dtype=np.float32)[:, None, None] for k in ("mean", "std"))
    with torch.no_grad():
        return network(torch.from_numpy((pixels - mean) / std)).numpy()


@pytest.mark.parametrize("backbone", ["efficientnet_b0", "mobilenetv2_100", "vit_tiny_patch16_224"])
def test_a_file_holds_timms_features_of_the_same_pixels(
    shell, knee_file, weights, backbone, tmp_path, cosine
):
    shell(f"oa-embed {knee_file} --backbone {backbone} --weights {weights(backbone)} -o f")
    arrays, attributes = read(tmp_path / "f" / knee_file.name.replace(".nii.gz", ".h5"))
    expected = by_hand(knee_file, backbone, weights(backbone))
    assert arrays["features"].shape == expected.shape and arrays["features"].dtype == np.float32
    assert cosine(arrays["features"], expected) >= 0.99999
    np.testing.assert_allclose(arrays["features"], expected, atol=1e-3 * np.abs(expected).max())
    assert attributes["backbone"] == backbone and attributes["precision"] == "float32"


@pytest.fixture
def many(knee, tmp_path):
    """Six knees of different depth, and between them one that is broken."""
    from oatools.imaging.volume import Volume, write_volume

    rng = np.random.default_rng(0)
    for k, depth in enumerate((35, 3, 20, 7, 11, 2)):
        data = knee.data[:, :, :depth] * (
            1 + 0.2 * rng.random(knee.data.shape[:2] + (depth,), dtype=np.float32)
        )
        write_volume(
            tmp_path / "in" / f"900000{k}_00m_left_cor-iw-tse.nii.gz", Volume(data, knee.affine)
        )
    (tmp_path / "in" / "9000002_00m_right_cor-iw-tse.nii.gz").write_bytes(b"broken")
    return tmp_path / "in"


EMBED = "oa-embed --backbone mobilenetv2_100 --weights {weights}"


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_jobs_neighbours_and_order_change_no_byte(shell, rows, many, weights, tmp_path, engine):
    command = EMBED.format(weights=weights("mobilenetv2_100")) + f" --engine {engine}"
    done = shell(f"{command} in/*.gz -o a", status=1)
    assert [Path(r["path"]).name[:7] for r in rows(done.stdout)] == [f"900000{k}" for k in range(6)]
    assert (
        "9000002_00m_right cor-iw-tse: in/" in done.stderr
        and "6 done, 0 kept, 1 failed" in done.stderr
    )
    shell(f"ls -r in/*.gz | {command} -j 3 -o b", status=1)
    shell(f"for f in in/*_left_*.gz; do {command} -q $f -o c; done")
    for path in (tmp_path / "a").iterdir():
        assert (
            path.read_bytes()
            == (tmp_path / "b" / path.name).read_bytes()
            == (tmp_path / "c" / path.name).read_bytes()
        )


def test_what_a_file_says_of_itself(shell, knee_file, weights, tmp_path):
    command = EMBED.format(weights=weights("mobilenetv2_100"))
    shell(
        f"{command} {knee_file} --range 10 15 --triplet --dtype float16 --augment 2 --seed 3 "
        "--precision bf16 --window 2 98 -o f"
    )
    arrays, attributes = read(next((tmp_path / "f").iterdir()))
    assert arrays["features"].shape == (6, 1280) and arrays["features"].dtype == np.float16
    assert arrays["augmented"].shape == (2, 6, 1280) and arrays["augmented"].dtype == np.float16
    assert arrays["position"].shape == (6,) and np.allclose(
        np.abs(np.diff(arrays["position"])), 3.0
    )
    prepared = json.loads(attributes["preprocessing"])
    assert (
        prepared["slices"] == [10, 15]
        and prepared["triplet"] is True
        and prepared["window"] == [2.0, 98.0]
    )
    assert attributes["first_slice"] == 9 and attributes["precision"] == "bf16"
    assert (
        attributes["engine"].startswith("openvino ")
        and attributes["weights"] == "file mobilenetv2_100.safetensors"
    )
    assert json.loads(attributes["augmentation"])["count"] == 2
    (step,) = json.loads(attributes["OatoolsSteps"])
    assert step["parameters"]["precision"] == "bf16" and step["parameters"]["triplet"] is True
    # The augmented copies are other images of the same knee.
    plain, varied = arrays["features"].astype(float), arrays["augmented"].astype(float)
    assert np.abs(varied[0] - plain).mean() > 0 and np.abs(varied[1] - varied[0]).mean() > 0


@pytest.mark.parametrize(
    ("table", "recorded"), [(None, "sag-3d-dess"), ("n/a", "sag-3d-dess"), ("cor-t1", "cor-t1")]
)
def test_a_file_records_the_sequence_that_the_row_or_else_the_sidecar_names(
    shell, knee_file, weights, tmp_path, table, recorded
):
    shutil.copy(knee_file, tmp_path / "scan.nii.gz")
    (tmp_path / "scan.json").write_text(json.dumps({"Sequence": "sag-3d-dess"}))
    command = EMBED.format(weights=weights("mobilenetv2_100"))
    given = "scan.nii.gz"
    if table:
        (tmp_path / "t.tsv").write_text(f"knee\tsequence\tpath\nscan\t{table}\tscan.nii.gz\n")
        given = "t.tsv"
    shell(f"{command} {given} -o f")
    (made,) = (tmp_path / "f").iterdir()
    assert read(made)[1]["sequence"] == recorded
    # A file that was made before this was recorded is not made again.
    rewrite_attributes(made, forget=["sequence"])
    assert "0 done, 1 kept" in shell(f"{command} {given} -o f").stderr


def test_a_range_gives_the_features_of_those_slices(shell, knee_file, weights, tmp_path):
    command = EMBED.format(weights=weights("mobilenetv2_100"))
    shell(f"{command} {knee_file} -o all && {command} {knee_file} --range 10 15 -o some")
    whole, some = (read(next((tmp_path / name).iterdir()))[0] for name in ("all", "some"))
    for name in ("features", "position"):
        assert np.array_equal(whole[name][9:15], some[name])


@pytest.mark.parametrize(
    "options, said",
    [
        ("--range 3 9 --slices 4", "--range and --slices exclude each other"),
        ("--range 9 3", "the first one first"),
        ("--window 99 1", "the lower first"),
        ("--precision float16 --device cpu", "is for a GPU"),
        ("--device cuda:0,cpu", "several devices are GPUs, such as cuda:0,cuda:1"),
        ("--device cuda:1,cuda:1", "--device names one twice"),
        ("--backbone no_such", "no timm model is called 'no_such'"),
        ("--weights none.pth", "no such weights file"),
        ("--backbone mri_core --weights pretrained", "are not downloaded (licence: Apache-2.0)"),
        (
            "--backbone convnext_atto --tokens cls",
            "is no vision transformer with tokens; leave out",
        ),
    ],
)
def test_usage_is_one_line_and_status_2(shell, knee_file, options, said):
    defaults = "" if "--weights" in options else "--weights random"
    done = shell(f"oa-embed {knee_file} -o f {defaults} {options}", status=2)
    assert (
        said in done.stderr
        and done.stderr.count("\n") == 1
        and done.stderr.startswith("oa-embed: ")
    )


def test_without_a_folder_the_message_names_it(shell, knee_file):
    done = shell(f"oa-embed {knee_file} --weights random", status=2)
    assert done.stderr.startswith("oa-embed: -o names the folder") and done.stderr.count("\n") == 1


def test_the_check_passes_good_files_and_names_bad_ones(shell, rows, many, weights, tmp_path):
    command = EMBED.format(weights=weights("mobilenetv2_100"))
    shell(f"{command} -q in/*_left_*.gz -o f && {command} -q in/9000003*.gz --window 5 95 -o other")
    done = shell("oa-embed --check f/*.h5")
    assert len(rows(done.stdout)) == 6 and done.stderr == "oa-embed: 6 done, 0 kept, 0 failed\n"
    shutil.copy(
        next((tmp_path / "other").iterdir()), tmp_path / "f" / "9000009_00m_left_cor-iw-tse.h5"
    )
    bad = tmp_path / "f" / "9000004_00m_left_cor-iw-tse.h5"
    bad.write_bytes(bad.read_bytes()[:5000])
    done = shell("oa-embed --check f/*.h5 --failed bad.tsv", status=1)
    assert [r["knee"][:7] for r in rows((tmp_path / "bad.tsv").read_text())] == [
        "9000004",
        "9000009",
    ]
    assert "not a readable feature file" in done.stderr
    assert (
        "does not belong together with f/9000000_00m_left_cor-iw-tse.h5: preprocessing window"
        in done.stderr
    )
    assert len(rows(done.stdout)) == 5


def test_other_settings_than_those_of_a_file_that_is_there_are_refused(shell, knee_file, weights):
    command = EMBED.format(weights=weights("mobilenetv2_100")) + f" {knee_file} -o f"
    shell(command)
    assert "0 done, 1 kept" in shell(f"{command} --engine torch").stderr
    done = shell(f"{command} --precision bf16", status=1)
    assert (
        "made with other settings (precision float32, not bf16); use --update, --force"
        in done.stderr
    )
    assert "1 done" in shell(f"{command} --precision bf16 --force").stderr


def test_the_backbones_are_listed_with_what_a_user_must_know(rows):
    done = CliRunner().invoke(main, ["--list-backbones"])
    listed = {row["name"]: row for row in rows(done.stdout)}
    assert done.stderr == "" and done.exit_code == 0
    assert listed["tf_efficientnet_lite0"] == {
        "name": "tf_efficientnet_lite0",
        "size": "224",
        "features": "1280",
        "parameters": "3371008",
        "licence": "Apache-2.0",
        "weights": "installed with oatools",
        "note": "default",
    }
    assert listed["vit_base_patch16_dinov3"]["licence"].startswith("DINOv3 License")
    assert listed["mri_core"]["weights"] == "https://github.com/mazurowski-lab/mri_foundation"
    assert {"radimagenet_resnet50", "curia", "vit_giant_patch14_reg4_dinov2"} < listed.keys()


def test_features_that_are_all_the_same_are_refused(shell, knee_file, tmp_path):
    from safetensors.torch import save_file

    network = timm.create_model("mobilenetv2_100", pretrained=False)
    state = {
        key: torch.zeros_like(value) if key.endswith("weight") else value
        for key, value in network.state_dict().items()
    }
    save_file(state, tmp_path / "w.safetensors")
    done = shell(
        f"oa-embed --backbone mobilenetv2_100 --weights w.safetensors {knee_file} -o f", status=1
    )
    assert "features are all the same; check its weights" in done.stderr
    assert not (tmp_path / "f").exists() or not list((tmp_path / "f").iterdir())


def test_weights_that_are_not_finite_are_refused(shell, knee_file, tmp_path):
    from safetensors.torch import save_file

    network = timm.create_model("mobilenetv2_100", pretrained=False)
    state = network.state_dict()
    state["conv_head.weight"] = state["conv_head.weight"] * float("nan")
    save_file(state, tmp_path / "w.safetensors")
    done = shell(
        f"oa-embed --backbone mobilenetv2_100 --weights w.safetensors {knee_file} -o f", status=2
    )
    assert "tensor 'conv_head.weight' holds numbers that are not finite" in done.stderr


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ItemError, match="features are not finite; .* precision float32"):
        checked(np.array([[0.0, np.inf], [1.0, 2.0]]))


def test_random_weights_are_called_random_wherever_they_are_used(shell, knee_file, tmp_path):
    done = shell(f"oa-embed --backbone mobilenetv2_100 --weights random --seed 5 {knee_file} -o f")
    assert "the weights are random" in done.stderr
    assert read(next((tmp_path / "f").iterdir()))[1]["weights"] == "random, seed 5"


def test_a_pipe_that_trickles_gets_its_rows_at_once(knee_file, weights, tmp_path):
    """The row of a knee leaves before the next one comes."""
    import subprocess
    import sys

    command = [
        Path(sys.executable).parent / "oa-embed",
        "--backbone",
        "mobilenetv2_100",
        "--weights",
        weights("mobilenetv2_100"),
        "-q",
        "-o",
        tmp_path / "f",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write(f"knee\tpath\na\t{knee_file}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "knee\tpath\n"
        assert process.stdout.readline() == f"a\t{tmp_path}/f/a.h5\n"
        process.stdin.write(f"b\t{knee_file}\n")
        process.stdin.close()
        assert process.stdout.readline() == f"b\t{tmp_path}/f/b.h5\n"
    assert process.returncode == 0


def test_averaged_weights_are_taken_and_said_once_also_from_the_cache(
    shell, knee_file, weights, tmp_path
):
    plain = load_file(weights("mobilenetv2_100"))
    other = {
        key: value * 1.01 if key == "conv_stem.weight" else value for key, value in plain.items()
    }
    torch.save({"state_dict": other, "state_dict_ema": plain}, tmp_path / "w.pth")
    torch.save({"state_dict": plain}, tmp_path / "p.pth")
    shutil.copy(knee_file, tmp_path / "9000002_00m_left.nii.gz")
    command = "oa-embed --backbone mobilenetv2_100 --slices 2"
    shell(f"{command} {knee_file} --weights p.pth -o p")
    for folder in ("a", "b"):  # exported, then kept
        done = shell(f"{command} {knee_file} 9000002_00m_left.nii.gz --weights w.pth -o {folder}")
        said = "w.pth holds averaged weights ('state_dict_ema'), which are taken"
        assert done.stderr.count(said) == 1
        made = tmp_path / folder / knee_file.name.replace(".nii.gz", ".h5")
        arrays, attributes = read(made)
        expected = read(tmp_path / "p" / made.name)[0]
        assert np.array_equal(arrays["features"], expected["features"])
        assert attributes["weights"] == "file w.pth, averaged (state_dict_ema)"


def test_a_file_that_was_damaged_since_is_made_again_and_another_is_not_touched(
    shell, knee_file, weights, tmp_path
):
    command = EMBED.format(weights=weights("mobilenetv2_100")) + f" --slices 2 {knee_file} -o f"
    shell(command)
    (made,) = (tmp_path / "f").iterdir()
    whole = made.read_bytes()

    def exchange():
        with h5py.File(made, "r+") as file:
            file["features"][0, :5] = 0

    for damage in (
        lambda: made.write_bytes(b""),
        lambda: made.write_bytes(whole[: len(whole) // 3]),
        exchange,
    ):
        assert "1 kept" in shell(command).stderr
        damage()
        done = shell(command)
        assert "1 done, 0 kept" in done.stderr
        assert "was damaged since it was made; it is made again" in done.stderr
        assert made.read_bytes() == whole
    # What was made otherwise, or by somebody else, stays as it is.
    exchange()
    done = shell(command.replace("--slices 2", "--slices 3"), status=1)
    assert "was made with other settings (slices 2, not 3)" in done.stderr
    made.write_text("an essay")
    assert "does not say how it was made" in shell(command, status=1).stderr
    assert made.read_text() == "an essay"


def test_the_features_of_another_knee_under_this_name_are_made_again(
    shell, knee_file, weights, tmp_path
):
    """As a script that mixes up its names leaves them; a changed input is another matter."""
    shutil.copy(knee_file, tmp_path / "9000002_00m_left.nii.gz")
    write = "import oatools, sys; v = oatools.read_volume(sys.argv[1]); v.data[::7] += 9; "
    shell(
        f"python -c '{write} oatools.write_volume(sys.argv[2], v)' {knee_file} "
        "9000003_00m_left.nii.gz"
    )
    call = EMBED.format(weights=weights("mobilenetv2_100")) + " --slices 2 -o f"
    shell(f"{call} 9000002_00m_left.nii.gz 9000003_00m_left.nii.gz")
    second, third = (tmp_path / "f" / f"900000{n}_00m_left.h5" for n in (2, 3))
    whole, other = second.read_bytes(), third.read_bytes()
    second.write_bytes(other)
    done = shell(f"{call} 9000002_00m_left.nii.gz 9000003_00m_left.nii.gz")
    assert "1 done, 1 kept" in done.stderr
    assert "9000002_00m_left.h5 was exchanged for that of another knee" in done.stderr
    assert second.read_bytes() == whole
    # The same knee's file, whose volume is another now: for its owner to decide on.
    shutil.copy(tmp_path / "9000003_00m_left.nii.gz", tmp_path / "9000002_00m_left.nii.gz")
    told = shell(f"{call} 9000002_00m_left.nii.gz", status=1).stderr
    assert "was made from another input" in told and second.read_bytes() == whole
