import pytest

from oatools.core.errors import ItemError, UsageError
from oatools.core.limits import allowance, in_units, memory_limit, require_memory


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("512M", 536870912),
        ("2g", 2147483648),
        ("1.5 GiB", 1610612736),
        ("1TB", 1099511627776),
        ("", 2147483648),
    ],
)
def test_the_limit_is_written_as_people_write_sizes(monkeypatch, text, size):
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", text)
    assert memory_limit() == size


@pytest.mark.parametrize("text", ["lots", "0", "-1G", "nan", "inf", "1e999G", "G", "2X"])
def test_what_is_no_size_is_refused(monkeypatch, text):
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", text)
    with pytest.raises(UsageError, match="OATOOLS_MEMORY_LIMIT is .* no size"):
        memory_limit()


def test_a_file_may_take_64_times_its_bytes_and_holes_do_not_count(monkeypatch, tmp_path):
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", "1M")
    (tmp_path / "small").write_bytes(b"x")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    with (tmp_path / "sparse").open("wb") as out:
        out.write(b"x")
        out.truncate(10 << 40)
    assert allowance(tmp_path / "small") == 1 << 20
    assert allowance(tmp_path / "large") == 6_400_000
    assert allowance(tmp_path / "sparse") < 1 << 23


def test_a_refusal_says_how_the_limit_is_raised():
    require_memory(2 << 30, 2 << 30, "its header states 9 voxels")
    with pytest.raises(ItemError) as refused:
        require_memory((2 << 30) + 1, 2 << 30, "its header states 9 voxels")
    assert str(refused.value) == (
        "its header states 9 voxels, which takes 2 GiB of memory where 2 GiB are the limit; if it "
        "is what it should be, set OATOOLS_MEMORY_LIMIT=3G"
    )


def test_sizes_are_written_in_the_unit_that_suits_them():
    assert [in_units(size) for size in (5, 2048, 1572864, 3 << 40)] == [
        "5 bytes",
        "2 KiB",
        "1.5 MiB",
        "3 TiB",
    ]
