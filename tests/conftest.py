"""What many tests need: the commands in a shell, browsers, a small phantom release, real material where it is at hand."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell's background job ignores interrupts, and what nohup starts hangups: so would the commands,
# which signals are sent to. What has a handler here is at its default there.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_make_parametrize_id(val, argname):
    """Bytes are named by their argument: a compressed input holds the time at which it was made, and workers that
    collect a second apart would have tests of different names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def exported_networks(tmp_path_factory):
    """Exported networks are kept in a folder of this test run, not in the user's."""
    given = os.environ.get("OATOOLS_CACHE")
    os.environ["OATOOLS_CACHE"] = str(tmp_path_factory.mktemp("networks"))
    yield
    os.environ.pop("OATOOLS_CACHE") if given is None else os.environ.update(OATOOLS_CACHE=given)


@pytest.fixture
def shell(tmp_path):
    """Run a line in bash, with pipefail, in the test's own folder, with the commands on the PATH."""

    def run(
        line: str,
        status: int | None = 0,
        stdin: str | None = None,
        cwd: Path | None = None,
        **environment: str,
    ):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            cwd=cwd or tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path, **environment},
            timeout=600,
            check=False,
        )
        assert status is None or done.returncode == status, (
            f"{line}\nstatus {done.returncode}\n{done.stderr}"
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def real_data():
    """The folder of real scans and weights, which are not part of the project."""
    given = os.environ.get("OATOOLS_TEST_DATA")
    if not given or not Path(given).is_dir():
        pytest.skip("real scans are not at hand; set OATOOLS_TEST_DATA to their folder")
    return Path(given)


@pytest.fixture(scope="session")
def unpacked(real_data, tmp_path_factory):
    """Unpack one of the archives of real scans, once a session, and return its folder."""
    folders = {}

    def unpack(name: str) -> Path:
        if name not in folders:
            archive = real_data / f"{name}.tar.xz"
            if not archive.is_file():
                pytest.skip(f"{archive.name} is not at hand; set OATOOLS_TEST_DATA to its folder")
            folders[name] = tmp_path_factory.mktemp(archive.name.removesuffix(".tar.xz"))
            shutil.unpack_archive(archive, folders[name], filter="data")
        return folders[name]

    return unpack


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """A small synthetic release: three people, coronal scans of both knees, coarse in plane."""
    from oatools.phantom.download import write_release
    from oatools.phantom.people import PhantomSettings

    folder = tmp_path_factory.mktemp("release") / "oai"
    write_release(folder, PhantomSettings(patients=3, seed=4, sequences=("cor-iw-tse",), matrix=64))
    return folder


@pytest.fixture
def write_volume(tmp_path):
    """Write an array as NIfTI through nibabel alone, and return the path."""
    import nibabel

    def write(name: str, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
        return path

    return write


_READ_ALL = """
import importlib, resource, sys
from pathlib import Path
from oatools.core.errors import ItemError
module, name = sys.argv[1].split(":")
read = getattr(importlib.import_module(module), name)
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for path in sorted(Path(sys.argv[2]).iterdir()):
    try:
        found = read(path)
        for _ in found if hasattr(found, "__next__") else ():
            pass
        print(path.name, "was read")
    except ItemError as error:
        print(path.name, error)
"""


def read_in_2_gib(reader, folder):
    """What a function (`module:name`) says of each file of a folder, by name, in a process that has 2 GiB for all."""
    environment = {name: value for name, value in os.environ.items() if "OATOOLS" not in name}
    call = [sys.executable, "-c", _READ_ALL, reader, str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, timeout=300)
    assert done.stderr == ""
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def cut(path):
    """Take the end of a file away."""
    path.write_bytes(path.read_bytes()[:-40])


def empty(path):
    """Leave nothing of a file but its name."""
    path.write_bytes(b"")


def flip(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lose(path):
    """Remove a file."""
    path.unlink()


def rewrite_attributes(path, forget=(), **attributes):
    """Write a feature file again with other attributes, as if it had been made with these."""
    from dataclasses import replace

    from oatools.features.featurefile import read_features, write_features

    found = read_features(path, augmented=True)
    kept = {name: value for name, value in found.provenance.items() if name not in forget}
    write_features(path, replace(found, provenance={**kept, **attributes}))


def rows_of(text: str) -> list[dict[str, str]]:
    """A printed table, read by nothing of ours."""
    header, *lines = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


@pytest.fixture
def rows():
    """Parse a printed table into dictionaries."""
    return rows_of


@pytest.fixture
def browser(tmp_path):
    """Start headless Chromium, with a profile that outlives it; all that are left open are closed at the end."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if not binary or not (server := shutil.which("chromedriver")):
        pytest.skip(
            "Chromium and its driver are not installed (apt-get install chromium chromium-driver)"
        )
    from selenium import webdriver

    opened = []

    def start(profile: str = "profile", size: tuple[int, int] = (1440, 900)):
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / profile}",
        ):
            options.add_argument(argument)
        (tmp_path / "downloads").mkdir(exist_ok=True)
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(tmp_path / "downloads")}
        )
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(server))
        opened.append(driver)
        width, height = size
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        return driver

    yield start
    for driver in opened:
        if driver.session_id and driver.service.is_connectable():
            driver.quit()


@pytest.fixture
def safari():
    """Start WebKit, Safari's engine, on a virtual screen; it keeps nothing between two starts."""
    programs = sorted(Path("/usr/lib").glob("*/webkit2gtk-4*/MiniBrowser"))
    server, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    if not (programs and server and screen):
        pytest.skip(
            "WebKit, its driver and Xvfb are not installed (apt-get install webkit2gtk-driver xvfb)"
        )
    from selenium import webdriver

    opened = []
    read, write = os.pipe()
    with subprocess.Popen(
        [screen, "-displayfd", str(write), "-screen", "0", "1600x1200x24"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    ) as display:
        os.close(write)
        with os.fdopen(read) as said:
            number = said.readline().strip()

        def start():
            options = webdriver.WebKitGTKOptions()
            options.binary_location = str(programs[-1])
            options.add_argument("--automation")
            # Its sandbox needs rights that a container does not give; only this test's own page is
            # opened.
            environment = os.environ | {
                "DISPLAY": f":{number}",
                "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
            }
            service = webdriver.WebKitGTKService(server, env=environment)
            opened.append(webdriver.WebKitGTK(options=options, service=service))
            opened[-1].set_window_size(1280, 900)
            return opened[-1]

        yield start
        for driver in opened:
            driver.quit()
        display.terminate()
