"""The package as Python sees it: public names, start-up, and the page that shows them."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import oatools

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "examples" / "python.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_page_runs_as_written(shell, tmp_path):
    assert len(blocks("python")) >= 8
    shell("set -e\n" + "".join(blocks("bash")))
    (tmp_path / "page.py").write_text("".join(blocks("python")))
    done = shell(
        f"{sys.executable} -W error::ResourceWarning -W 'ignore:Implicitly cleaning up' page.py"
    )
    for picture in ("knee.png", "heat.png"):
        assert (tmp_path / picture).read_bytes()[:4] == b"\x89PNG"
    assert "(8, 1280)" in done.stdout
    assert "images+clinical: ROC AUC" in done.stdout and "images linear: ROC AUC" in done.stdout
    assert "these numbers come from phantoms" in done.stdout
    assert "to the right of the midline" in done.stdout


def test_the_page_shows_every_public_function():
    functions = {
        name
        for name in oatools.__all__
        if name.islower() and not name.startswith("_")  # classes are seen through functions
    }
    left_to_docstrings = {
        "write_volume",
        "read_features",
        "write_features",
        "make_cohort",
        "predict",
    }
    shown = set(re.findall(r"oatools\.(\w+)", PAGE))
    assert functions - left_to_docstrings <= shown


@pytest.mark.parametrize("name", oatools.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    found = getattr(oatools, name)
    assert name in dir(oatools)
    assert found.__doc__


def test_type_checkers_see_every_name():
    """They read the source, and the mapping by which names are imported is none of theirs."""
    source = Path(oatools.__file__).read_text()
    stated = set(re.findall(r"^    from \S+ import \w+ as (\w+)$", source, flags=re.MULTILINE))
    assert stated == set(oatools.__all__) - {"__version__"}


def test_a_name_that_is_not_there_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'train_everything'"):
        oatools.train_everything  # noqa: B018


def test_importing_the_package_imports_nothing_else():
    """What a command costs at its start is counted in thousands by xargs."""
    code = (
        "import sys; before = set(sys.modules); import oatools; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "['oatools', 'oatools.version']"


@pytest.mark.parametrize("kind", [oatools.ItemError, oatools.UsageError])
def test_errors_are_of_one_family_and_cross_processes_whole(kind):
    error = pickle.loads(pickle.dumps(kind("it is broken", "mend it with `tool`")))
    assert isinstance(error, oatools.OatoolsError)
    assert (error.reason, error.remedy) == ("it is broken", "mend it with `tool`")
    assert str(error) == "it is broken; mend it with tool"
