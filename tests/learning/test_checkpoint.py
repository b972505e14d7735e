from dataclasses import replace

import pytest

from oatools.learning.checkpoint import Checkpoint
from oatools.learning.crossval import remove_models
from oatools.learning.files import save_model
from oatools.learning.folds import split_training
from oatools.learning.settings import Settings
from oatools.learning.training import fit

SETTINGS = Settings(
    conv=8, units=8, hidden=8, epochs=9, patience=9, learning_rate=3e-3, schedule="cosine"
)


class Interrupted(Exception):
    pass


def whole(cohort, settings):
    return split_training(cohort, settings.validation, 3)


def interrupt(path, cohort, settings, epochs, made_from="this"):
    """Train until so many epochs are on file."""
    checkpoint = Checkpoint(path, made_from, every=0)
    written = []

    def write(progress):
        Checkpoint.write(checkpoint, progress)
        written.append(1)
        if len(written) == epochs:
            raise Interrupted

    checkpoint.write = write
    with pytest.raises(Interrupted):
        checkpoint.fit(cohort, settings, 3, whole(cohort, settings), resume=False)


@pytest.mark.parametrize("pooling", ["gru", "mean"])  # with layers inside, and with none
def test_going_on_gives_the_bytes_that_no_interruption_gives(make, tmp_path, pooling):
    cohort, settings = make(knees=40), replace(SETTINGS, pooling=pooling)
    save_model(tmp_path / "whole", fit(cohort, settings, 3))
    path = tmp_path / "m.resume"
    interrupt(path, cohort, settings, 4)
    seen = []
    resumed = Checkpoint(path, "this", every=0)
    resumed.write = lambda progress: seen.append(len(progress.history))
    save_model(
        tmp_path / "resumed", resumed.fit(cohort, settings, 3, whole(cohort, settings), resume=True)
    )
    assert seen[0] == 5  # it did go on, and did not begin again
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()
    assert not path.exists()


def test_the_file_of_another_training_or_a_broken_one_is_passed_over(make, tmp_path):
    cohort = make(knees=40)
    path = tmp_path / "m.resume"
    interrupt(path, cohort, SETTINGS, 2, made_from="other")
    assert Checkpoint(path, "other").read() is not None
    assert Checkpoint(path, "this").read() is None
    path.write_bytes(path.read_bytes()[:100])
    assert Checkpoint(path, "other").read() is None
    assert Checkpoint(tmp_path / "absent", "other").read() is None


def test_with_force_the_models_of_an_earlier_run_are_removed_and_nothing_else(make, tmp_path):
    model = fit(make(knees=24), replace(SETTINGS, epochs=1), 3)
    (tmp_path / "images").mkdir()
    for name in ("fold-7.safetensors", "images/fold-7.safetensors", "mine.safetensors"):
        save_model(tmp_path / name, model)
    (tmp_path / "fold-notes.safetensors").write_bytes(b"somebody else's")
    remove_models(tmp_path)
    left = [path.name for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert left == ["fold-notes.safetensors", "mine.safetensors"]
