import pytest

from oatools.core.errors import ItemError, OatoolsError, UsageError, item_error


@pytest.mark.parametrize("kind", [ItemError, UsageError])
def test_both_kinds_of_error_can_be_caught_together_and_have_their_parts(kind):
    with pytest.raises(OatoolsError) as caught:
        raise kind("a.nii.gz exists", "use `force`")
    assert caught.value.reason == "a.nii.gz exists"
    assert caught.value.remedy == "use `force`"


def test_without_options_a_remedy_shows_the_names_of_parameters():
    error = ItemError("a.nii.gz exists", "use `force` or another `out_dir`")
    assert str(error) == error.text() == "a.nii.gz exists; use force or another out_dir"


def test_a_command_shows_its_options_in_place_of_parameters():
    error = ItemError("a.nii.gz exists", "use `force` or another `out_dir`")
    shown = error.text({"force": "--force", "out_dir": "-o"})
    assert shown == "a.nii.gz exists; use --force or another -o"


def test_a_parameter_that_a_command_has_no_option_for_keeps_its_name():
    error = ItemError("too long", "use a smaller `shrink` or none, `force` or not")
    assert (
        error.text({"force": "--force"}) == "too long; use a smaller shrink or none, --force or not"
    )


def test_a_library_that_is_missing_is_no_items_fault():
    with pytest.raises(UsageError, match="a part of oatools is missing .No module named 'h5py'"):
        item_error(ModuleNotFoundError("No module named 'h5py'"))


def test_names_in_a_reason_are_left_as_they_are():
    """A reason may quote what a user wrote, and that is not ours to replace."""
    error = UsageError("no column `force`", "use `force`")
    assert error.text({"force": "--force"}) == "no column `force`; use --force"


def test_an_error_without_remedy_is_its_reason():
    assert str(UsageError("standard input is closed")) == "standard input is closed"


def test_an_error_keeps_its_parts_on_the_way_from_another_process():
    import pickle

    error = pickle.loads(pickle.dumps(ItemError("broken", "use `force`")))
    assert (error.reason, error.remedy) == ("broken", "use `force`")
