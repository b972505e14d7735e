import os
import socket
import subprocess
import sys

import pytest

from oatools.core import files, paths, provenance
from oatools.core.errors import ItemError, UsageError


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Of each kind of path one, by a word of what it is."""
    folder = tmp_path_factory.mktemp("odd")
    os.mkfifo(folder / "pipe")
    (folder / "linked").symlink_to("pipe")
    (folder / "device").symlink_to("/dev/zero")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "lost").symlink_to("nowhere")
    (folder / "file").write_bytes(b"x")
    bound = socket.socket(socket.AF_UNIX)
    before = os.getcwd()  # noqa: PTH109
    os.chdir(folder)  # the name of a socket is a short one
    bound.bind("socket")
    os.chdir(before)
    yield folder
    bound.close()


WHAT = [
    ("pipe", "is a pipe (FIFO), not a volume; give a plain file"),
    ("linked", "is a pipe (FIFO), not a volume; give a plain file"),
    ("device", "is a device, not a volume; give a plain file"),
    ("socket", "is a socket, not a volume; give a plain file"),
    ("folder", "is a folder, not a volume; give the file"),
    ("lost", "no such file (a link that leads nowhere)"),
    ("loop", "no such file (a link that leads nowhere)"),
    ("nothing", "no such file; check the column 'path'"),
]


@pytest.mark.parametrize(("name", "said"), WHAT)
def test_what_is_no_file_is_refused_by_what_it_is_and_never_opened(odd, name, said):
    with pytest.raises(ItemError) as refused:
        paths.require_file(odd / name, "a volume")
    assert str(refused.value).replace(": no such", " no such").startswith(f"{odd / name} {said}")
    paths.require_file(odd / "file", "a volume")


@pytest.mark.parametrize("name", ["pipe", "device", "socket", "folder"])
@pytest.mark.parametrize(
    "read",
    [
        files.digest,
        lambda path: provenance.step("oa-n4", {}, path),
        provenance.seen,
    ],
    ids=["digest", "step", "seen"],
)
def test_no_digest_is_taken_of_what_has_no_end(odd, name, read):
    with pytest.raises(ItemError, match=f"{name} is a {name}"):
        read(odd / name)


def test_a_series_folder_has_a_digest_and_a_pipe_in_its_place_has_none(odd):
    step = provenance.step("oa-convert", {}, odd / "folder", name="series")
    assert step.input_sha256 == files.tree_digest(odd / "folder")
    with pytest.raises(ItemError, match=r"pipe \(FIFO\)"):
        provenance.step("oa-convert", {}, odd / "pipe", name="series")


def test_an_input_whose_name_is_not_utf_8_is_recorded_all_the_same(tmp_path):
    path = tmp_path / os.fsdecode(b"kn\xe9e.nii")
    path.write_bytes(b"x")
    assert provenance.step("oa-n4", {}, path).input_name == "kn\ufffde.nii"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pipe", "pipe is a pipe; give a file, or `-` with"),
        ("device", "device is a device, not a table"),
        ("folder", "folder is a folder, not a table"),
        ("socket", "socket is a socket, not a table"),
    ],
)
def test_a_table_that_has_no_end_is_refused(odd, name, said):
    with pytest.raises(UsageError, match=said):
        paths.require_readable(odd / name)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/nowhere"])
def test_nothing_is_an_empty_table_and_what_is_not_there_is_left_to_open(name):
    paths.require_readable(name)


READ = (
    "import sys; from oatools.core.manifest import read_table\n"
    "try: print([row['knee'] for row in read_table(sys.argv[1]).rows])\n"
    "except Exception as error: print(error)"
)


@pytest.mark.parametrize("given", ["<(printf 'knee\\tlabel\\na\\t1\\n')", "/dev/stdin"])
def test_a_table_from_a_pipe_of_the_shell_is_read(given):
    call = f"printf 'knee\\tlabel\\na\\t1\\n' | {sys.executable} -c \"$0\" {given}"
    done = subprocess.run(["bash", "-c", call, READ], capture_output=True, text=True, timeout=60)
    assert done.stdout == "['a']\n", done.stderr
