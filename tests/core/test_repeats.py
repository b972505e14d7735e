from oatools.core.console import Console
from oatools.core.repeats import Repeats


def said_of(capsys, messages, **how):
    """What is printed of errors, each (item, message, row)."""
    repeats = Repeats(Console("oa-n4", **how))
    for name, message, row in messages:
        repeats.error(name, message, row)
    repeats.say_rest()
    return capsys.readouterr().err.splitlines()


def test_what_differs_in_names_alone_is_said_of_three_and_counted(capsys):
    rows = [
        (f"K{i:04d}", f"nii/K{i:04d}.nii.gz: no such file", {"path": f"nii/K{i:04d}.nii.gz"})
        for i in range(6)
    ]
    lines = said_of(capsys, rows)
    assert [line.split(": ")[1] for line in lines[:3]] == ["K0000", "K0001", "K0002"]
    assert lines[3:] == [
        "oa-n4: 3 more rows like K0000 (-v names each): nii/K0000.nii.gz: no such file"
    ]


def test_messages_that_differ_in_more_are_all_said(capsys):
    lines = said_of(capsys, [(f"K{i:04d}", f"{i} slices are missing", {}) for i in range(6)])
    assert len(lines) == 6


def test_a_long_table_with_as_many_kinds_as_rows_is_not_held_in_memory(capsys):
    """Kinds are forgotten once there are a thousand, and what was counted of them is said then."""
    same = [(f"K{i:04d}", "no such file", {}) for i in range(5)]
    kinds = [(f"L{i:04d}", f"{i} slices are missing", {}) for i in range(1500)]
    repeats = Repeats(Console("oa-n4"))
    for name, message, row in [*same, *kinds]:
        repeats.error(name, message, row)
    assert len(repeats._said) < 1001
    lines = capsys.readouterr().err.splitlines()
    assert "oa-n4: 2 more rows like K0000 (-v names each): no such file" in lines
    assert sum("slices are missing" in line for line in lines) == 1500
