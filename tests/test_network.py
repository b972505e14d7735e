"""No command opens a connection that nobody asked for, or keeps anything in the user's home.

Every command runs with what makes it load most, once, in a network namespace of its own: see
watch_network.py, which is tried here first.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oatools.commands import start

WATCH = Path(__file__).with_name("watch_network.py")
ALONE = ["unshare", "--map-root-user", "--net", "--mount"]
EMBED = "--weights random --backbone mobilenetv3_small_050 --slices 2"
TRAIN = "f.tsv --labels l.tsv --epochs 1 --slices 2"
# Enough knees for a trial: more than a phantom that is made in seconds.
SCORED = (
    'seq 120 | awk \'BEGIN { OFS = "\\t"; print "knee", "probability", "label", "side" } '
    '{ print "k" $1, $1 % 7 / 10 + 0.1, $1 % 3 == 0, $1 % 2 ? "left" : "right" }\' > s.tsv'
)
LINES = [
    "oa-phantom oai --patients 12 --seed 4 --sequence cor-iw-tse --matrix 32 > ph.tsv",
    "oa-convert oai/00m -o nii > c.tsv",
    "oa-orient -o oriented < c.tsv > o.tsv",
    "oa-n4 --iterations 2 -o n4 < o.tsv > n.tsv",
    f"oa-embed {EMBED} -o f < n.tsv > f.tsv",  # exports the network
    f"head -n 2 n.tsv | oa-embed {EMBED} -o again",  # which is kept now
    "oa-label oai/tables --endpoint jsn12 > l.tsv",
    f"oa-cv {TRAIN} --folds 2 -o cv > p.tsv",
    f"oa-train {TRAIN} -o m.safetensors",
    "oa-predict m.safetensors < f.tsv",
    "oa-label oai/tables --endpoint jsn --until 48m --curve c.svg --flow flow.svg > t.tsv",
    f"oa-cv {TRAIN.replace('l.tsv', 't.tsv')} --folds 2 --repeats 1 -o followed > pt.tsv",
    f"oa-train {TRAIN.replace('l.tsv', 't.tsv')} -o t.safetensors",
    "oa-predict t.safetensors < f.tsv",
    "head -n 2 n.tsv | oa-cam m.safetensors -o cam",
    "oa-pairs draw l.tsv --no-strata --pairs 1 --seed 0 --key key.tsv > pairs.tsv",
    "oa-pairs page pairs.tsv n.tsv -o page > page.tsv",
    "oa-pairs score --pairs pairs.tsv --key key.tsv --model p.tsv",
    SCORED,
    "oa-validate s.tsv --bootstrap 100 --by side --figure v.svg --paragraph v.txt > v.tsv",
    "oa-validate s.tsv --bootstrap 100 --recalibrate large --recalibration r.json > v2.tsv",
    "oa-predict m.safetensors --recalibration r.json < f.tsv",
    "oa-enrich s.tsv --bootstrap 100 --decision d.tsv --figure e.svg --paragraph e.txt > e.tsv",
    "head -n 2 n.tsv | oa-view -o view",
    "oa-doctor -o new",
    "oa-info n.tsv n4/*.nii.gz f/*.h5 m.safetensors cv page",
    "oa-check oriented n4 f cv page m.safetensors",
]
#: What stays in an empty home: folders of caches, as the man pages say.
KEPT = {".cache/oatools", ".cache/matplotlib", ".config/matplotlib"}

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run([*ALONE, "true"], capture_output=True).returncode,
    reason="a network namespace needs Linux, and leave to make one",
)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Run lines, with an empty home and an empty folder for temporary files; return what was seen."""

    def run(lines, folder=None):
        folder = folder or tmp_path_factory.mktemp("watched")
        (folder / "home").mkdir()
        (folder / "tmp").mkdir()
        own = {"OATOOLS_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "CI"}
        environment = {key: value for key, value in os.environ.items() if key not in own}
        environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        program = [*ALONE, sys.executable, str(WATCH), "found.json"]
        text = "\n".join(lines)
        subprocess.run(program, cwd=folder, env=environment, input=text, text=True, check=True)
        return json.loads((folder / "found.json").read_text())

    return run


@pytest.fixture(scope="module")
def commands(watched, tmp_path_factory):
    """The folder in which all commands ran, and what was seen of each."""
    folder = tmp_path_factory.mktemp("commands")
    found = watched(LINES, folder)
    assert [one["said"] for one in found if one["status"]] == []
    return folder, found


def python(program):
    return f'{sys.executable} -c "{program}"'


@pytest.mark.parametrize(
    "line, seen",
    [
        ("true", []),
        (python("import socket; socket.socketpair()"), []),
        (
            python("import socket; socket.getaddrinfo('www.example.org', 443)"),
            ["udp 127.0.0.1:53 www.example.org"],
        ),
        (
            python("import socket; socket.create_connection(('192.0.2.7', 443))"),
            ["tcp 192.0.2.7:443"],
        ),
        # No library of Python's, no name, and in the background.
        ("echo > /dev/udp/198.51.100.3/9 & wait", ["udp 198.51.100.3:9"]),
        # What sends, wherever `import openvino` loads it and nothing is done about it.
        (
            python("import openvino, time; time.sleep(1)"),
            ["udp 127.0.0.1:53 www.google-analytics.com"],
        ),
    ],
)
def test_an_attempt_is_seen(watched, line, seen):
    (found,) = watched([line])
    assert [one for one in found["attempts"] if one in seen] == seen
    assert bool(found["attempts"]) == bool(seen)


def test_every_command_is_watched():
    started = {
        name for name, value in vars(start).items() if getattr(value, "__name__", "") == "start"
    }
    assert {f"oa-{name}" for name in started} == {
        word for line in LINES for word in line.split() if word.startswith("oa-")
    }


def test_no_command_opens_a_connection(commands):
    _, found = commands
    assert {one["line"]: one["attempts"] for one in found if one["attempts"]} == {}


def test_no_command_leaves_anything_in_the_home_but_caches(commands):
    home = commands[0] / "home"
    left = {str(path.relative_to(home)) for path in home.glob("*/*")}
    assert left == KEPT
    assert {path.name for path in home.iterdir()} == {".cache", ".config"}
    assert not any((home / ".config/matplotlib").iterdir())


def test_no_command_leaves_anything_among_the_temporary_files(commands):
    assert list((commands[0] / "tmp").iterdir()) == []
