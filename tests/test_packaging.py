"""What is packed, and what the files around the package say of it, agree."""

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import oatools

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text):
    return [line for line in text.strip().splitlines() if line and not line.startswith("#")]


def test_the_lowest_versions_are_those_that_setup_cfg_promises(setup):
    promised, tested = {}, {}
    for line in lines(setup["options"]["install_requires"]):
        requirement = Requirement(line)
        (bound,) = requirement.specifier
        assert bound.operator == ">=", line
        promised[requirement.name] = Version(bound.version)
    for line in lines((ROOT / "tests" / "lowest.txt").read_text(encoding="utf-8")):
        name, exact, version = line.partition("==")
        if exact:
            tested[name] = Version(version)
    assert promised == tested


def test_the_version_is_the_same_wherever_it_is_written():
    headings = re.findall(r"^## \[([^\]]+)\] - (\S+)$", CHANGELOG, flags=re.MULTILINE)
    version, date = headings[0]
    assert version == oatools.__version__
    assert date == "unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", date)
    assert f"\nversion: {oatools.__version__}\n" in CITATION
    for page in (ROOT / "man").glob("oa*.[157]"):
        assert f'"oatools {oatools.__version__}"' in page.read_text(encoding="utf-8").split("\n")[0]


def test_the_pythons_that_are_promised_are_those_that_are_tested(setup):
    classifiers = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    matrix = re.search(r"python: \[(.*)\]", WORKFLOW)[1]
    assert re.findall(r"3\.\d+", matrix) == classifiers
    least = SpecifierSet(setup["options"]["python_requires"])
    assert classifiers[0] in least and "3.9" not in least


def test_the_home_of_the_project_is_the_same_wherever_it_is_written(setup):
    home = setup["metadata"]["url"]
    assert all(
        line.split(" = ")[1].startswith(home) for line in lines(setup["metadata"]["project_urls"])
    )
    assert f'repository-code: "{home}"' in CITATION


def test_the_source_archive_holds_what_building_and_testing_elsewhere_take(tmp_path):
    """All that is under version control, but for what only git and its hosts read."""
    pytest.importorskip("setuptools", reason="setuptools, which builds the archive, is missing")
    if not (ROOT / "oatools").is_dir():
        pytest.skip("the package is not beside the tests, as when an installed one is tested")
    folder = tmp_path / "tree"
    skipped = shutil.ignore_patterns(
        ".git", ".venv*", "*.egg-info", "demo", "build", "dist", ".*_cache"
    )
    shutil.copytree(ROOT, folder, ignore=skipped)
    code = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    (archive,) = (folder / "dist").iterdir()
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    folders = ("oatools", "completion", "man", "tests", "examples", ".github")
    wanted = {
        str(path.relative_to(ROOT))
        for name in folders
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    wanted |= {path.name for path in ROOT.glob("[A-Z]*") if path.is_file()}
    wanted |= {
        "apptainer.def",
        "environment.yml",
        "setup.cfg",
        "pyproject.toml",
        ".ci/run",
        ".pre-commit-config.yaml",
    }
    assert wanted <= packed, wanted - packed
    assert not any("__pycache__" in name for name in packed)
    assert {"oatools/py.typed", "man/oa-n4.1", "man/src/oa-n4.md"} <= packed


def test_containers_and_conda_install_what_setup_cfg_asks_for(setup):
    """None of them is built here: what can be compared is."""
    if not (ROOT / "Dockerfile").is_file():
        pytest.skip("the package is not beside the tests, as when an installed one is tested")
    docker, apptainer, conda = (
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("Dockerfile", "apptainer.def", "environment.yml")
    )
    (torch,) = (line for line in lines(setup["options"]["install_requires"]) if "torch>" in line)
    promised = SpecifierSet(setup["options"]["python_requires"])
    for text in (docker, apptainer):
        # Another index has a torchvision for another torch.
        assert re.search(rf'pip install .*"{torch}" torchvision --index-url', text)
        assert all(
            Version(found) in promised for found in re.findall(r"python:([\d.]+)-slim", text)
        )
    assert Version(re.search(r"- python=([\d.]+)", conda)[1]) in promised

    # What Apptainer copies is there, and all that Docker does not leave behind.
    copied = re.findall(r"^    (\S+) /src/\1$", apptainer, re.MULTILINE)
    sent = re.findall(
        r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(copied) == apptainer.count(" /src/") > 0
    assert all((ROOT / name).exists() for name in (*copied, *sent))
    assert set(copied) == set(sent) - {"MANIFEST.in"}  # for source archives alone


def test_the_package_data_are_declared(setup):
    """Files of the package that are not Python are in the wheel too."""
    declared = setup["options.package_data"]
    for path in (ROOT / "oatools").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            package, pattern = ".".join(path.parent.relative_to(ROOT).parts), path.name
            if path.parent.name == "assets":
                package, pattern = package.removesuffix(".assets"), "assets/*"
            assert pattern in lines(declared[package]), path


def test_labels_alone_need_click_and_nothing_else(setup, tmp_path):
    """As the README says of an installation of 7 MB."""
    (tmp_path / "study.tsv").write_text(
        "subject\tside\tvisit\tjsw\n1\tleft\t00m\t4.1\n1\tleft\t12m\t3.6\n"
    )
    modules = {"scikit-learn": "sklearn", "Jinja2": "jinja2"}
    names = [Requirement(line).name for line in lines(setup["options"]["install_requires"])]
    absent = [modules.get(name, name) for name in names if name != "click"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "from oatools.commands.label import main; main()"
    )
    command = [sys.executable, "-c", code, "study.tsv", "--endpoint", "jsn12"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\n1_00m_left\t1\t00m\tleft\t1\t" in done.stdout
