"""The Makefile of `examples/`: it makes what is missing or changed, nothing else, and a broken series fails alone."""

import os
import shutil
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "examples" / "make" / "Makefile"


@pytest.fixture
def knees(release, tmp_path):
    """A download of both knees of one person: the folders of their series."""
    shutil.copytree(release, tmp_path / "oai")
    people = sorted((tmp_path / "oai" / "00m").glob("*/*"))
    for person in people[1:]:
        shutil.rmtree(person)
    series = sorted(folder.parent for folder in people[0].rglob("001"))
    assert len(series) == 2
    return series


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_only_what_changed_is_made_again(knees, tmp_path, shell):
    embed = "EMBED='--weights random --slices 2 --size 32'"
    line = f"make -f {MAKEFILE} OAI=oai {embed} features.tsv labels.tsv"
    features = tmp_path / "features"

    # A broken series fails alone, and is named; the other is made; nothing half made stays.
    sound = {path: path.read_bytes() for path in knees[0].iterdir()}
    shell(f"make -f {MAKEFILE} OAI=oai list.tsv")
    for path in sound:
        path.write_bytes(b"")
    failed = shell(line.replace("make ", "make -k ", 1), status=2)
    assert "oa-convert: " in failed.stderr
    assert len(list(features.glob("*.h5"))) == 1
    assert len(list((tmp_path / "nii").glob("*.tsv"))) == 1
    assert not (tmp_path / "features.tsv").exists()
    kept = next(features.glob("*.h5"))
    time_of_kept = kept.stat().st_mtime_ns

    # Once mended it is made, and the other is not made again.
    for path, content in sound.items():
        path.write_bytes(content)
    shell(line)
    assert len((tmp_path / "features.tsv").read_text().splitlines()) == 3
    assert kept.stat().st_mtime_ns == time_of_kept
    assert "up to date" in shell(line).stdout
    assert "oa-" not in shell(line).stdout

    # A touched input runs its own chain once, and no other.
    os.utime(next(iter(sound)))
    again = shell(line).stdout
    assert [again.count(f"{command} -q") for command in ("oa-convert", "oa-orient", "oa-n4")] == [
        1,
        1,
        1,
    ]
    assert again.count("oa-embed -q") == 1
    assert kept.stat().st_mtime_ns == time_of_kept
    assert "oa-" not in shell(line).stdout

    # New clinical data make new labels, and no image is computed again.
    table = next(path for path in (tmp_path / "oai" / "tables").rglob("*") if path.is_file())
    os.utime(table)
    relabelled = shell(line).stdout
    assert "oa-label" in relabelled
    assert "oa-embed" not in relabelled
    assert "oa-" not in shell(line).stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_path_that_make_would_take_apart_is_refused_at_once(knees, tmp_path, shell):
    (tmp_path / "oai").rename(tmp_path / "my oai")
    named = shell(f"make -f {MAKEFILE} OAI='my oai' labels.tsv", status=2)
    assert 'a path with spaces; link to it (ln -s "my oai" oai) and give OAI=oai' in named.stderr
    assert "oa-" not in named.stdout

    # A link to it is what the message says, and works.
    (tmp_path / "oai").symlink_to("my oai")
    shell(f"make -f {MAKEFILE} OAI=oai series.mk labels.tsv")
    assert (tmp_path / "series.mk").read_text().count("series += ") == 2

    # Below the download the list names it, and nothing is made of a part of a name.
    day = knees[0].parent.relative_to(tmp_path / "oai")
    (tmp_path / "oai" / day).rename(tmp_path / "oai" / day.with_name("2005 10"))
    for name in ("list.tsv", "series.mk"):
        (tmp_path / name).unlink()
    below = shell(f"make -f {MAKEFILE} OAI=oai series.mk", status=2)
    assert "make cannot take the path oai/" in below.stderr and "rename the folder" in below.stderr
    assert not (tmp_path / "series.mk").exists()
