"""The clinical values that a reader is shown."""

import pytest

from oatools.reading.page import value_name


@pytest.mark.parametrize(
    ("variable", "cell", "shown"),
    [
        ("height", "1.6047", "1.60"),
        ("jsw", "3.827", "3.8"),
        ("bmi", "27", "27.0"),
        ("weight", "70.25", "70.2"),
        ("jsw", "n/a", "n/a"),
        ("injury", "1", "yes"),
        ("age", "61", "61"),
        ("height", "tall", "tall"),
    ],
)
def test_a_value_has_no_more_digits_than_its_measurement(variable, cell, shown):
    assert value_name({variable: cell}, variable) == shown
