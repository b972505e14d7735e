"""A bare machine: no home, no folder that libraries could keep anything in, and what they say about it."""

import sys
import textwrap

import pytest

NOWHERE = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere", "LC_ALL": "C"}
NOWHERE |= {"XDG_CONFIG_HOME": "/proc/nowhere", "MPLCONFIGDIR": "/proc/nowhere"}

# A command whose work is in a module that imports Matplotlib, and a library that logs on import.
PROGRAM = """
    from oatools.core.cli import command
    from oatools.core.manifest import read_rows
    from oatools.core.options import inputs_argument, run_options
    from oatools.core.runner import run_rows

    @command("oa-test")
    @inputs_argument()
    @run_options
    def main(console, inputs, null_separated, run):
        from work import work
        return run_rows(console, read_rows(inputs), work, run)

    if __name__ == "__main__":
        main()
"""
WORK = """
    import logging
    logging.getLogger("library").warning("the cache is gone")
    import matplotlib.figure
    from oatools.core.runner import Done

    def work(row):
        logging.getLogger("library").error("and once more")
        return Done({})
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_standard_error_has_the_lines_of_the_command_alone(tmp_path, shell, jobs):
    for name, text in (("program", PROGRAM), ("work", WORK)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    done = shell(f"{sys.executable} program.py a b -j {jobs}", **NOWHERE)
    assert done.stderr == "oa-test: 2 done, 0 kept, 0 failed\n"


def test_without_the_silence_those_lines_would_be_there(tmp_path, shell):
    """What the test above is worth: the same libraries do speak in such a place."""
    (tmp_path / "work.py").write_text(textwrap.dedent(WORK))
    done = shell(f"{sys.executable} -c 'import work'", **NOWHERE)
    assert "the cache is gone" in done.stderr and "/proc/nowhere" in done.stderr


@pytest.mark.parametrize("redirected", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_volume_is_corrected_without_a_home_and_with_closed_streams(
    write_volume, tmp_path, shell, redirected
):
    import numpy as np

    data = np.random.default_rng(0).integers(100, 900, (24, 24, 12)).astype(np.int16)
    write_volume("1_00m_left.nii", data)
    call = f"cd /proc; oa-n4 {tmp_path}/1_00m_left.nii -o {tmp_path}/n4 {redirected}"
    done = shell(call, TMPDIR="/proc/nowhere", **NOWHERE)
    assert (tmp_path / "n4/1_00m_left.nii.gz").is_file()
    assert done.stderr == ("" if "2>" in redirected else "oa-n4: 1 done, 0 kept, 0 failed\n")
