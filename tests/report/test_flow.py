import pytest

from oatools.core.errors import UsageError
from oatools.report.flow import draw_flow, flow_figure

TEXTS = (
    "412 knees assessed\n(206 patients)",
    [
        "52 knees left out",
        "  30 no JSW at 00m",
        "  12 JSW at 00m and 12m from different reading projects only",
    ],
    "360 knees labelled\n(190 patients)",
    ["51\npositive", "309\nnegative"],
)


@pytest.mark.parametrize("suffix, mark", [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_flow_is_drawn_in_the_form_of_its_name_and_twice_the_same(tmp_path, suffix, mark):
    draw_flow(tmp_path / f"a.{suffix}", *TEXTS)
    draw_flow(tmp_path / f"b.{suffix}", *TEXTS)
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(mark)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_every_text_stands_in_the_figure(tmp_path):
    draw_flow(tmp_path / "a.svg", *TEXTS)
    text = (tmp_path / "a.svg").read_text()
    for words in (
        "412 knees assessed",
        "30 no JSW at 00m",
        "different reading",
        "projects only",
        "360 knees labelled",
        "309",
    ):
        assert words in text


def test_no_text_leaves_its_box_and_no_two_boxes_overlap():
    reasons = [
        f"  {n} a reason of some length that has to be broken into lines, number {n}"
        for n in range(9)
    ]
    figure = flow_figure(TEXTS[0], ["900 knees left out", *reasons], *TEXTS[2:])
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [patch.get_window_extent() for patch in axes.patches]
    texts = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == len(texts) == 5
    for box, text in zip(boxes, texts, strict=True):
        assert box.x0 < text.x0 and text.x1 < box.x1 and box.y0 < text.y0 and text.y1 < box.y1
    for n, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[n + 1 :])


def test_another_form_is_refused(tmp_path):
    with pytest.raises(UsageError, match="written as .tsv, or drawn as .svg"):
        draw_flow(tmp_path / "a.jpg", *TEXTS)
