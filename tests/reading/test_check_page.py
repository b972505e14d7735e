"""The folder of a reading page under oa-check."""

from pathlib import Path

import nibabel
import pytest

from oatools.checking.check import check

from ..conftest import cut, empty, flip, lose

CALL = "oa-pairs page pairs.tsv volumes.tsv -o reading"


@pytest.fixture
def page(tmp_path, make_volume, shell, monkeypatch):
    """A page of one pair, in coronal images."""
    monkeypatch.chdir(tmp_path)
    pairs = ["knee\tsubject\tvisit\tside\tpair\tplace\tage"]
    volumes = ["knee\tsequence\tpath"]
    for place, subject in (("A", "9000001"), ("B", "9000002")):
        knee = f"{subject}_00m_left"
        nibabel.save(make_volume(int(subject)), f"{knee}.nii")
        pairs.append(f"{knee}\t{subject}\t00m\tleft\t001\t{place}\t60")
        volumes.append(f"{knee}\tcor-iw-tse\t{knee}.nii")
    Path("pairs.tsv").write_text("\n".join(pairs) + "\n")
    Path("volumes.tsv").write_text("\n".join(volumes) + "\n")
    shell(CALL)
    return Path("reading")


def exchange(path):
    """Another knee's images, whole, under this name."""
    path.write_bytes(path.with_name("001-B-1.js").read_bytes())


FILES = ["index.html", "reader.css", "reader.js", "study.js", "checksums.sha256"]


def test_damage_to_a_file_of_a_page_is_named_and_repaired_by_the_same_command(page, shell):
    whole = {path: path.read_bytes() for path in sorted(page.rglob("*")) if path.is_file()}
    assert {path.relative_to(page).as_posix() for path in whole} == {
        *FILES,
        "volumes/001-A-1.js",
        "volumes/001-B-1.js",
    }
    assert check(page) == []
    cases = [(page / name, damage) for name in FILES for damage in (cut, empty, flip, lose)]
    volume = page / "volumes/001-A-1.js"
    cases += [(volume, damage) for damage in (cut, empty, flip, lose, exchange)]
    for path, damage in cases:
        damage(path)
        assert [each[:2] for each in check(page)] == [(str(path), "reading page")], damage
        assert damage is lose or len(check(path)) == 1
        path.write_bytes(whole[path])
    # Answers that readers have saved there are nobody's to judge.
    (page / "answers.csv").write_text("pair,answer\n001,A")
    assert check(page) == []
    (page / "answers.csv").unlink()
    exchange(volume)
    empty(page / "reader.js")
    lose(page / "index.html")
    assert len(check(page)) == 3
    shell(CALL)
    assert {path: path.read_bytes() for path in whole} == whole and check(page) == []


def test_volumes_are_held_to_the_pages_content_where_no_digest_tells(page):
    (page / "checksums.sha256").unlink()
    volume = page / "volumes/001-A-1.js"
    whole = volume.read_bytes()
    for damage in (cut, empty, flip, lose, exchange):
        damage(volume)
        found = {each.path: each.error for each in check(page)}
        assert found.pop(str(page / "checksums.sha256")) == "is missing"
        # What is cut off may be no more than the filling behind the images.
        assert list(found) == [str(volume)] or (damage is cut and not found)
        volume.write_bytes(whole)
    # The images of another knee under this one's name, written as the page would take them.
    volume.write_bytes((page / "volumes/001-B-1.js").read_bytes().replace(b"001-B-1", b"001-A-1"))
    found = {each.path: each.error for each in check(page)}
    assert found[str(volume)] == "is not the volume that the page expects"
