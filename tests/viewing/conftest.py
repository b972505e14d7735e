"""A right knee with a hot spot whose place is known, as a scanner stores it and turned otherwise."""

import importlib
import json

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from oatools.core import provenance
from oatools.imaging.recorded import write_recorded
from oatools.imaging.volume import Volume


def call(command, *words, given=None):
    """Run a command in this process."""
    module = importlib.import_module(f"oatools.commands.{command}")
    done = CliRunner().invoke(module.main, [str(word) for word in words], input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def write_scan(path, seed=0, x=90.0):
    """A coronal scan of 24 x 20 x 7 voxels of 0.5 x 0.5 x 3 mm, columns to the left, rows up, slices to the front.

    It lies around x mm to the right. A block of 2 x 2 x 2 voxels, columns 4 and 5, rows 3 and 4 from the top, the second
    and third slice from behind, is ten times as bright as the rest.
    """
    data = np.random.default_rng(seed).integers(50, 100, (24, 20, 7)).astype(np.int16)
    data[4:6, 15:17, 1:3] = 1000
    affine = np.array([[-0.5, 0, 0, x + 5.75], [0, 0, 3.0, -9], [0, 0.5, 0, -4.75], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    return path


def turned(path, out, axes):
    """The same scan with its axes in another order and direction, by nibabel."""
    image = nibabel.load(path)
    now = nibabel.orientations.io_orientation(image.affine)
    wanted = nibabel.orientations.axcodes2ornt(axes)
    image = image.as_reoriented(nibabel.orientations.ornt_transform(now, wanted))
    nibabel.save(image, out)
    return out


def write_heat(path, volume, hot, attention, heat=2.0):
    """A heat map of a volume as oa-cam leaves one, zero but for one voxel of the volume's grid."""
    image = nibabel.load(volume)
    data = np.zeros(image.shape, np.float32)
    data[hot] = heat
    step = provenance.step("oa-cam", {"method": "gradcam", "class": 1, "grid": "input"}, volume)
    fields = {
        "Description": "gradcam of the positive class, log odds",
        "Probability": 0.75,
        "Threshold": 0.4,
        "Attention": attention,
        "Notes": ["jsn12: positive at the model's threshold 0.40", "The model is a toy."],
        provenance.STEPS: [step.to_json()],
    }
    write_recorded(path, Volume(data, image.affine), fields)
    return path


ATTENTION = [0.5, 0.2, 0.1, 0.1, 0.05, 0.05, 0.0]


@pytest.fixture
def knees(tmp_path):
    """Three knees in `cam.tsv`: a right one with a hot spot, and two left ones."""
    scan = write_scan(tmp_path / "1_00m_right_cor-iw-tse.nii.gz")
    write_heat(tmp_path / "heat1.nii.gz", scan, (4, 16, 1), ATTENTION)
    lines = ["knee\tside\tsequence\tpath\theat\tvolume\tprobability\tcaution\tage\tsex\tlabel"]
    lines.append(
        f"1_00m_right\tright\tcor-iw-tse\tx.png\t{tmp_path}/heat1.nii.gz\t{scan}\t0.75\tphantoms\t61\tfemale\t1"
    )
    for n, probability in ((2, "0.9"), (3, "0.1")):
        other = write_scan(tmp_path / f"{n}_00m_left_cor-iw-tse.nii.gz", n, -90.0)
        lines.append(
            f"{n}_00m_left\tleft\tcor-iw-tse\tx.png\tn/a\t{other}\t{probability}\tphantoms\t{50 + n}\tmale\t0"
        )
    (tmp_path / "cam.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def content(page):
    """What a page shows."""
    text = (page / "study.js").read_text()
    return json.loads(text.removeprefix("reading.study(").removesuffix(");\n"))


class Commands:
    """Commands in this process, and what their inputs and outputs are made and read with."""

    attention = ATTENTION
    __call__ = staticmethod(call)
    content = staticmethod(content)
    turned = staticmethod(turned)
    write_heat = staticmethod(write_heat)
    write_scan = staticmethod(write_scan)


@pytest.fixture
def oa():
    return Commands()
