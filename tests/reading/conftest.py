"""A reading study of small volumes, and a browser to read it in."""

import os
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest


def knee_volume(
    seed: int, shape=(24, 20, 7), spacing=(0.5, 0.5, 3.0), side="left", slices="coronal"
) -> nibabel.Nifti1Image:
    """Noise with a bright block, in the scanner's place of that side; axes run right to left, as scanners store them."""
    random = np.random.default_rng(seed)
    data = random.integers(20, 400, shape).astype(np.int16)
    data[shape[0] // 3 : shape[0] // 2, shape[1] // 3 : shape[1] // 2] += 300
    x = -90.0 if side == "left" else 90.0
    affine = np.eye(4)
    if slices == "coronal":  # columns to the left, rows up, slices to the front
        affine[:3, :3] = np.array([[-spacing[0], 0, 0], [0, 0, spacing[2]], [0, spacing[1], 0]])
    else:  # columns to the front, rows up, slices to the right
        affine[:3, :3] = np.array([[0, 0, spacing[2]], [spacing[0], 0, 0], [0, spacing[1], 0]])
    affine[:3, 3] = [x, 0, 0] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return nibabel.Nifti1Image(data, affine)


@pytest.fixture(scope="session")
def make_volume():
    return knee_volume


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
