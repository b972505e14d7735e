"""Features of CLAM, STAMP and TRIDENT, read from files made as those programs make them, and ours read as they read theirs.

The names, types and chunks come from the programs' own sources, cited at each.
"""

import io
import pickle
import zipfile

import h5py
import numpy as np
import pytest
import torch

from oatools.core.errors import ItemError
from oatools.core.replacing import Replace
from oatools.features.featurefile import Features, read_features, space_difference, write_features
from oatools.features.rows import CLAM_FOLDER, _write_tensor
from oatools.features.tensorfile import read_tensor

NUMBERS = np.random.default_rng(0).normal(size=(5, 7)).astype("f4")
PLACES = np.array([[0, 512], [256, 0], [256, 512], [0, 0], [256, 256]])
OURS = {"backbone": "resnet18", "preprocessing": {"size": 224}}


def clam(path, numbers=NUMBERS, places=PLACES, **more):
    """mahmoodlab/CLAM, utils/file_utils.py (save_hdf5) as extract_features_fp.py calls it."""
    with h5py.File(path, "w") as file:
        for name, array in (("features", numbers), ("coords", places.astype("i4"))):
            chunks, longest = (32, *array.shape[1:]), (None, *array.shape[1:])
            more_of_it = more if name == "features" else {}
            file.create_dataset(name, data=array, maxshape=longest, chunks=chunks, **more_of_it)


def trident(path, numbers=NUMBERS):
    """mahmoodlab/TRIDENT, trident/IO.py (save_h5) as wsi_objects/WSI.py (extract_patch_features) calls it."""
    with h5py.File(path, "w") as file:
        for name, array in (("features", numbers), ("coords", PLACES.astype("i8"))):
            chunks, longest = (1, *array.shape[1:]), (None, *array.shape[1:])
            file.create_dataset(name, data=array, maxshape=longest, chunks=chunks)
        file["features"].attrs["name"] = "slide 1"
        file["features"].attrs["savetodir"] = "/home/somebody/features"
        for name, value in {
            "patch_size": 256,
            "patch_size_level0": 512,
            "level0_magnification": 40,
            "target_magnification": 20,
            "overlap": 0,
        }.items():
            file["coords"].attrs[name] = value


def stamp_1(path, numbers=NUMBERS):
    """KatherLab/STAMP, preprocessing/helpers/feature_extractors.py (extract_features_), version 1."""
    with h5py.File(path, "w") as file:
        file["coords"] = PLACES
        file["feats"] = numbers.astype("f2")
        file["augmented"] = np.repeat([False, True], [len(numbers), 0])
        file.attrs["extractor"] = "STAMP-extract-v1.0.0_xiyuewang-ctranspath-7c998680"


def stamp_2(path, numbers=NUMBERS, feat_type="tile", extractor="mahmood-uni"):
    """KatherLab/STAMP, src/stamp/preprocessing/__init__.py (extract_), version 2.1 and later."""
    with h5py.File(path, "w") as file:
        file["coords"] = PLACES.astype("f4")
        file["feats"] = numbers.astype("f2")
        file.attrs["stamp_version"] = "2.3.0"
        file.attrs["extractor"] = extractor
        file.attrs["unit"] = "um"
        file.attrs["tile_size_um"] = 256.0
        file.attrs["tile_size_px"] = 224
        file.attrs["code_hash"] = "0a1b2c3d"
        file.attrs["feat_type"] = feat_type


@pytest.mark.parametrize(
    ("make", "layout", "kind"),
    [
        (clam, "clam", "f4"),
        (trident, "trident", "f4"),
        (lambda path: trident(path, NUMBERS[None]), "trident", "f4"),
        (stamp_1, "stamp STAMP-extract-v1.0.0_xiyuewang-ctranspath-7c998680", "f2"),
        (stamp_2, "stamp mahmood-uni", "f2"),
        (lambda path: clam(path, compression="gzip", shuffle=True), "clam", "f4"),
        (lambda path: clam(path, NUMBERS.astype(">f8")), "clam", "f8"),
        # Who is in a free text is not known, so it is not passed on.
        (lambda path: stamp_2(path, extractor="made by J. Doe"), "stamp", "f2"),
    ],
)
def test_files_of_the_three_programs_are_read_row_by_row(tmp_path, make, layout, kind):
    make(tmp_path / "knee.h5")
    found = read_features(tmp_path / "knee.h5")
    assert np.array_equal(found.features, NUMBERS.astype(kind)) and found.features.dtype == kind
    assert found.provenance == {"layout": layout} and not found.making_is_recorded
    assert found.position.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("packed", [True, False])
def test_a_tensor_is_read(tmp_path, kind, packed):
    """mahmoodlab/CLAM, extract_features_fp.py: torch.save(features, ...); older PyTorch packs nothing."""
    tensor = torch.from_numpy(NUMBERS).to(kind)
    torch.save(tensor, tmp_path / "knee.pt", _use_new_zipfile_serialization=packed)
    found = read_features(tmp_path / "knee.pt")
    assert np.array_equal(found.features.astype("f4"), tensor.float().numpy())
    assert found.provenance == {"layout": "tensor"}


class Harm:
    def __reduce__(self):
        return (exec, ("open('harm', 'w').close()",))


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def bomb():
    """An archive as torch.save makes it, but packed: a thousandth of what it unpacks to."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in zipfile_members(saved(torch.zeros(10**6))):
            archive.writestr(name, content)
    return buffer.getvalue()


def zipfile_members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (saved(torch.zeros(1).expand(10**6, 10**6)), "states a shape of .* the limit"),
        (saved({"features": torch.zeros(5, 7)}), "holds one dict in the place of features"),
        (saved(torch.zeros(5, 7, dtype=torch.int64)), "a tensor of torch.int64"),
        (saved(torch.eye(5).to_sparse()), "torch.sparse_coo"),
        (saved(torch.zeros(7)), r"features of shape \(7,\) are not slices by channels"),
        (saved(torch.full((5, 7), torch.nan)), "numbers that are not finite"),
        (saved(Harm()), "not executed|holds a whole object|cannot be opened"),
        (pickle.dumps(Harm()), "cannot be opened"),
        (bomb(), "is packed, as torch.save packs nothing"),
        (saved(torch.zeros(5, 7))[:-40], "cannot be opened"),
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
    ],
)
def test_a_hostile_tensor_is_one_clean_error_and_executes_nothing(
    tmp_path, monkeypatch, content, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ItemError, match=said) as refused:
        read_features("a.pt")
    assert refused.value.reason.startswith("a.pt") and "\n" not in str(refused.value)
    assert not (tmp_path / "harm").exists()


def linked(file):
    file["features"], file["coords"] = h5py.ExternalLink("b.h5", "/x"), PLACES


def declared(file, side=10**5, **more):
    file.create_dataset("features", (side, side), "f4", chunks=(1000, 1000), **more)
    file["coords"] = PLACES


def unknown_filter(file):
    """One of the plug-ins of HDF5, that of Zstandard, by its number."""
    form = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    form.set_chunk((5, 7))
    form.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((5, 7))
    h5py.h5d.create(file.id, b"features", h5py.h5t.IEEE_F32LE, space, form)
    file["coords"] = PLACES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (linked, "'features' is a link"),
        (declared, "are larger than the file may hold"),
        # Little enough for memory, and yet nothing that the file holds.
        (lambda f: declared(f, side=3000), "are larger than the file may hold"),
        (lambda f: declared(f, compression="gzip"), "are larger than the file may hold"),
        (unknown_filter, "packed by a filter that is not HDF5's own"),
        (lambda f: f.update(features=NUMBERS, coords=PLACES[:3]), "5 rows of features, but"),
        (lambda f: f.update(features=NUMBERS[0], coords=PLACES), r"shape \(7,\) are not slices"),
        (lambda f: f.update(feats=NUMBERS.astype("i4"), coords=PLACES), "int32, not floating"),
    ],
)
def test_a_hostile_file_in_another_layout_is_one_clean_error(tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    h5py.File.update = lambda file, **more: [file.__setitem__(*pair) for pair in more.items()]
    with h5py.File("a.h5", "w") as file:
        change(file)
    with pytest.raises(ItemError, match=said) as refused:
        read_features("a.h5")
    assert "a.h5" in refused.value.reason and "\n" not in str(refused.value)


def test_features_of_a_whole_slide_are_refused(tmp_path):
    stamp_2(tmp_path / "a.h5", NUMBERS[:1], feat_type="patient")
    with pytest.raises(ItemError, match="of a whole patient, not of slices"):
        read_features(tmp_path / "a.h5")


def test_features_of_unknown_making_do_not_mix_with_ours_or_another_programs():
    ours, theirs = {"backbone": "resnet18"}, {"backbone": None, "layout": "clam"}
    assert "of the other not" in space_difference(theirs, ours)
    assert space_difference(theirs, dict(theirs)) == ""
    stamps = {"backbone": None, "layout": "stamp mahmood-uni"}
    assert space_difference(theirs, stamps) == "layout clam, not stamp mahmood-uni"


def test_ours_stripped_of_its_positions_does_not_pass_for_another_programs(tmp_path):
    path = tmp_path / "a.h5"
    write_features(path, Features(NUMBERS, np.arange(5.0), dict(OURS)), also_as=("clam",))
    with h5py.File(path, "a") as file:
        del file["position"]
    with pytest.raises(ItemError, match="'position' is missing"):
        read_features(path)


@pytest.fixture
def written(tmp_path):
    """A file of ours for all three, of slices 3.2 mm apart that go down."""
    path = tmp_path / "9000099_00m_right_cor-iw-tse.h5"
    made = Features(NUMBERS, np.array([8.0, 4.8, 1.6, -1.6, -4.8]), dict(OURS))
    write_features(path, made, also_as=("clam", "stamp", "trident"))
    return path


def test_ours_is_read_as_the_three_programs_read_theirs(written):
    down = [[12800, 0], [9600, 0], [6400, 0], [3200, 0], [0, 0]]
    with h5py.File(written, "r") as file:
        # mahmoodlab/CLAM, dataset_modules/dataset_generic.py (__getitem__ with load_from_h5).
        features, coords = file["features"][:], file["coords"][:]
        assert np.array_equal(torch.from_numpy(features).numpy(), NUMBERS)
        assert coords.tolist() == down
        # mahmoodlab/TRIDENT, trident/wsi_objects/WSI.py (extract_slide_features).
        attributes = dict(file["coords"].attrs)
        assert torch.from_numpy(coords).unsqueeze(0).shape == (1, 5, 2)
        assert attributes["patch_size_level0"] == 3200 and attributes["patch_size"] == 224
        assert attributes["name"] == "9000099_00m_right_cor-iw-tse"
        # KatherLab/STAMP, src/stamp/modeling/data.py (BagDataset, get_coords, detect_feature_type).
        assert np.array_equal(torch.from_numpy(file["feats"][:]).float().numpy(), NUMBERS)
        assert float(file.attrs["tile_size_um"]) == 3200.0 and "tile_size" not in file.attrs
        assert int(file.attrs["tile_size_px"]) == 224 and file.attrs["feat_type"] == "tile"
        assert file.attrs["extractor"] == "resnet18" and "stamp_version" not in file.attrs


def test_ours_stays_ours_and_takes_no_more_room_for_the_second_name(written, tmp_path):
    found = read_features(written)
    assert np.array_equal(found.features, NUMBERS) and found.has_digest and found.making_is_recorded
    assert found.provenance["backbone"] == "resnet18" and "layout" not in found.provenance
    plain = Features(np.zeros((500, 700), "f4"), np.arange(500.0), dict(OURS))
    write_features(tmp_path / "one.h5", plain)
    write_features(tmp_path / "two.h5", plain, also_as=("stamp",))
    sizes = [(tmp_path / name).stat().st_size for name in ("one.h5", "two.h5")]
    assert sizes[1] - sizes[0] < 20_000 < plain.features.nbytes


def test_clams_tensor_lies_where_it_looks_and_one_that_is_another_stays(written, tmp_path):
    # mahmoodlab/CLAM, dataset_modules/dataset_generic.py: data_dir/pt_files/SLIDE.pt.
    path = tmp_path / "pt_files" / "9000099_00m_right_cor-iw-tse.pt"
    _write_tensor(written, ("stamp",), Replace.NOTHING)
    assert not path.exists() and CLAM_FOLDER == "pt_files"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"somebody's own")
    with pytest.raises(ItemError, match="is there, and holds other features") as raised:
        _write_tensor(written, ("clam",), Replace.NOTHING)
    assert path.read_bytes() == b"somebody's own" and "`force`" in raised.value.remedy
    for content, replacing in ((b"", Replace.NOTHING), (b"other", Replace.OUTDATED)):
        path.write_bytes(content)
        _write_tensor(written, ("clam",), replacing)
        assert np.array_equal(torch.load(path, weights_only=True).numpy(), NUMBERS)
    before = path.stat()
    _write_tensor(written, ("clam",), Replace.NOTHING)
    assert path.stat().st_mtime_ns == before.st_mtime_ns and path.stat().st_ino == before.st_ino
    assert np.array_equal(read_tensor(path), NUMBERS)


def test_the_command_writes_for_other_programs_and_keeps_what_it_wrote(
    knee_file, tmp_path, monkeypatch
):
    from click.testing import CliRunner

    from oatools.commands.embed import main

    monkeypatch.chdir(tmp_path)
    words = [
        "--weights",
        "random",
        "--backbone",
        "mobilenetv2_100",
        "--slices",
        "2",
        "--size",
        "64",
    ]
    words = [str(knee_file), *words, "--engine", "torch", "--also-as", "clam", "--also-as", "stamp"]
    said = [CliRunner().invoke(main, [*words, "-o", "out"]) for _ in range(2)]
    assert [each.exit_code for each in said] == [0, 0]
    assert "1 done" in said[0].stderr and "1 kept" in said[1].stderr
    stem = knee_file.name.removesuffix(".nii.gz")
    with h5py.File(tmp_path / "out" / f"{stem}.h5", "r") as file:
        assert file["feats"].shape == (2, 1280) and file["coords"][0, 0] in (
            0,
            file["coords"][-1, 0],
        )
        features = file["features"][:]
    tensor = torch.load(tmp_path / "out" / "pt_files" / f"{stem}.pt", weights_only=True)
    assert np.array_equal(tensor.numpy(), features)
    said = CliRunner().invoke(main, [*words[:-2], "-o", "out"])
    assert said.exit_code == 1 and "was made with other settings (also_as" in said.stderr
