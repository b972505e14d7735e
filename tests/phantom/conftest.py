import pytest

from oatools.phantom.download import write_release
from oatools.phantom.people import PhantomSettings

SMALL = PhantomSettings(patients=2, seed=5, matrix=48)


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """A whole synthetic download with a tiny matrix: its folder and the rows of its series."""
    folder = tmp_path_factory.mktemp("phantom") / "download"
    return folder, write_release(folder, SMALL)
