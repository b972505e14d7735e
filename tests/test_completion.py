"""Completion, used in the shells themselves."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "completion"
spec = importlib.util.spec_from_file_location("build", ROOT / "man" / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_every_command_is_completed(shell_name):
    commands = sorted(f"oa-{name}" for name in build.COMMANDS)
    text = (FOLDER / f"oatools.{shell_name}").read_text()
    lists = [re.findall(r"\boa-\w+", line) for line in text.splitlines()]
    found = [sorted(names) for names in lists if len(names) > 3]
    assert found and all(names == commands for names in found)


def test_bash(shell):
    def completed(*words):
        line = " ".join(f"'{word}'" for word in words)
        done = shell(
            f"source {FOLDER}/oatools.bash; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1};"
            f' _oatools {words[0]}; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        return done.stdout.split()

    assert completed("oa-n4", "--en") == ["--engine"]
    assert completed("oa-n4", "--engine", "") == ["fast", "itk"]
    assert completed("oa-pairs", "sc") == ["score"]
    assert completed("oa-pairs", "score", "--int") == ["--interval"]
    assert completed("oa-n4", "scan") == []  # names of files are for bash itself
    assert "_oatools" in shell(f"source {FOLDER}/oatools.bash; complete -p oa-cv").stdout


def test_fish(shell):
    if shutil.which("fish") is None:
        pytest.skip("fish is not at hand")

    def completed(line):
        script = f'source {FOLDER}/oatools.fish; complete -C "{line}"'
        lines = shell(f"fish --no-config -c '{script}'").stdout.splitlines()
        return [line.split("\t")[0] for line in lines]

    assert completed("oa-n4 --en") == ["--engine"]
    assert {"fast", "itk"} <= set(completed("oa-n4 --engine "))
    assert "score" in completed("oa-pairs sc")


def test_zsh(tmp_path, shell):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not at hand")
    (tmp_path / "typed.zsh").write_text(f"""
zmodload zsh/zpty
expect() {{  # what is shown until it holds the text, for at most a minute
    local more; shown=
    repeat 600; do
        while zpty -r -t z more; do shown+=$more; done
        [[ $shown == *$1* ]] && return
        sleep 0.1
    done
}}
zpty z zsh -f -i
zpty -w z 'autoload -U compinit; compinit -u -D; source {FOLDER}/oatools.zsh; print LOA''DED'
expect LOADED
zpty -w -n z $'oa-n4 --eng\\t'
expect --engine
print -r -- "option: $shown"
zpty -w -n z $' \\t\\t'
expect itk
print -r -- "values: $shown"
zpty -d z
""")
    done = shell("zsh -f typed.zsh")
    option, values = done.stdout.split("values:")
    assert "--engine" in option
    assert "fast" in values and "itk" in values


def test_what_make_sets_up_has_the_pages_and_completion_that_pip_installs(tmp_path):
    subprocess.run(
        ["make", "-C", str(ROOT), "pages", f"VENV={tmp_path}"], check=True, capture_output=True
    )
    pages = {path.name for path in (ROOT / "man").glob("oa*.[157]")}
    assert {path.name for path in tmp_path.glob("share/man/man*/*")} == pages
    assert all(path.resolve().is_file() for path in tmp_path.glob("share/*/*/*"))
    scripts = {path.name for path in tmp_path.glob("share/*/*/oatools.*sh")}
    assert scripts == {"oatools.bash", "oatools.zsh", "oatools.fish"}
    if shutil.which("man"):
        found = subprocess.run(
            ["man", "-M", str(tmp_path / "share/man"), "-w", "oa-n4", "oa-model", "oatools"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert len(found.stdout.splitlines()) == 3
