"""The reading page in a real browser: Chromium, headless, driven by keys, mouse and touch."""

import json
from urllib.parse import unquote

import nibabel
import numpy as np
import pytest

from oatools.reading import images

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

SEQUENCES = {
    "cor-iw-tse": ("coronal", (24, 20, 7), (0.5, 0.5, 3.0)),
    "sag-3d-dess": ("sagittal", (30, 28, 16), (0.4, 0.4, 1.0)),
}
COUNT = 10


@pytest.fixture(scope="session")
def study(tmp_path_factory, make_volume):
    """Ten pairs of small volumes, their key, and the page in the folder `reading`."""
    folder = tmp_path_factory.mktemp("study")
    pairs, volumes = (
        ["knee\tsubject\tvisit\tside\tpair\tplace\tdraw\tage\tsex"],
        ["knee\tsequence\tpath"],
    )
    key = ["knee\tsubject\tvisit\tside\tpair\tplace\tdraw\tstratum\tjsn"]
    for n in range(2 * COUNT):
        subject, side, pair, place = (
            str(9000000 + n),
            "left" if n % 3 else "right",
            f"{n // 2 + 1:03d}",
            "AB"[n % 2],
        )
        knee = f"{subject}_00m_{side}"
        pairs.append(
            f"{knee}\t{subject}\t00m\t{side}\t{pair}\t{place}\t0123456789ab\t{50 + n}\tfemale"
        )
        if place == answer(n // 2):
            key.append(
                f"{knee}\t{subject}\t00m\t{side}\t{pair}\t{place}\t0123456789ab\t-1.1:-0.6\t-0.8"
            )
        for sequence, (slices, shape, spacing) in SEQUENCES.items():
            path = folder / f"{knee}_{sequence}.nii"
            nibabel.save(make_volume(n, shape, spacing, side, slices), path)
            volumes.append(f"{knee}\t{sequence}\t{path.name}")
    for name, lines in (("pairs", pairs), ("volumes", volumes), ("key", key)):
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def answer(index):
    """Where the progressor of a pair stands."""
    return "AABBABABBA"[index]


@pytest.fixture
def page(study, tmp_path, shell):
    shell(
        f"oa-pairs page pairs.tsv volumes.tsv -o {tmp_path}/reading > {tmp_path}/page.tsv",
        cwd=study,
    )
    return tmp_path / "reading"


class Reader:
    """What a person does with the page, and sees of it."""

    def __init__(self, driver, page):
        self.driver = driver
        driver.get((page / "index.html").as_uri())
        self.until(lambda: self.of("start").get_attribute("open"))

    def of(self, name):
        return self.driver.find_element(By.ID, name)

    def until(self, condition):
        return WebDriverWait(self.driver, 20).until(lambda _: condition())

    def begin(self, name):
        self.of("reader").send_keys(name + Keys.ENTER)
        return self.ready()

    def ready(self):
        """Wait until the images of the pair are on screen."""
        self.until(lambda: self.run("return ready"))
        return self

    def run(self, script):
        return self.driver.execute_script(script)

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()
        return self

    def click(self, name):
        self.of(name).click()
        return self

    def canvas(self, place="A"):
        return self.driver.find_element(By.CSS_SELECTOR, f"[data-place={place}] canvas")

    def slices(self):
        """The slices on screen, of A and B, counted from 1."""
        labels = self.driver.find_elements(By.CSS_SELECTOR, ".view .slice")
        return [int(label.text.split()[0]) for label in labels]

    def pixels(self, place="A"):
        """What is on screen: grey values (rows, columns) of the canvas."""
        data = self.run(
            f"const c = panels.{place}.canvas; const d = c.getContext('2d').getImageData(0, 0, c.width,"
            " c.height); return [d.width, d.height, Array.from(d.data.filter((_, i) => i % 4 === 0))]"
        )
        return np.array(data[2]).reshape(data[1], data[0])

    def where(self):
        return self.of("where").text

    def chosen(self):
        return [
            place
            for place in "AB"
            if self.of(f"choose-{place}").get_attribute("aria-pressed") == "true"
        ]

    def export(self, downloads, name):
        self.press("e").until(lambda: self.of("saved").get_attribute("open"))
        self.click("download")
        return self.saved(downloads / name)

    def saved(self, path):
        """Wait until the browser, which begins with an empty file, has written all."""
        return self.until(lambda: path.is_file() and path.stat().st_size and path)


def test_ten_pairs_are_read_by_keyboard_and_mouse_over_two_sessions(
    study, page, browser, tmp_path, shell, rows
):
    first = Reader(browser(), page).begin("jd")
    assert first.where() == "Pair 1 of 10, 0 answered"
    for index in range(4):  # by keyboard alone; the third is wrong
        choice = {2: "a"}.get(index, answer(index).lower())
        first.press(choice, str(index + 1), Keys.ENTER).until(
            lambda n=index: f"Pair {n + 2} " in first.where()
        )
        first.ready()
    first.press("n", "bright", Keys.ENTER, "marrow", Keys.ESCAPE).press(answer(4).lower())
    first.run(
        "const n = document.getElementById('notes'); n.value += '\\tabc'; n.dispatchEvent(new Event('input'))"
    )
    assert first.where() == "Pair 5 of 10, 5 answered"
    first.driver.quit()  # in the middle of a pair

    second = Reader(browser(), page)
    (again,) = second.driver.find_elements(By.CSS_SELECTOR, "#readers button")
    assert again.text == "Go on as jd"
    again.click()
    second.ready()
    assert second.where() == "Pair 5 of 10, 5 answered"
    assert second.chosen() == [answer(4)]
    for index in range(5, 10):  # by mouse alone; the last is left out
        second.click("next").until(lambda n=index: f"Pair {n + 1} " in second.where())
        second.ready()
        if index < 9:
            second.click(f"choose-{answer(index)}")
    second.driver.find_elements(By.CSS_SELECTOR, "#confidence button")[4].click()
    assert second.of("next").text == "Finish"
    second.click("next").until(lambda: second.of("saved").get_attribute("open"))
    assert second.of("saved-text").text == "9 of 10 pairs are answered. Still open: 010."
    text = second.click("download").saved(tmp_path / "downloads" / "answers-jd.tsv").read_text()
    assert text == second.of("table").get_attribute("value")
    table = rows(text)
    assert list(table[0]) == [
        "reader",
        "pair",
        "choice",
        "confidence",
        "seconds",
        "notes",
        "study",
        "draw",
    ]
    assert [row["choice"] for row in table] == [*"AAABABABB", "n/a"]
    assert [row["confidence"] for row in table] == [
        "1",
        "2",
        "3",
        "4",
        "n/a",
        "n/a",
        "n/a",
        "n/a",
        "n/a",
        "5",
    ]
    assert [row["notes"] for row in table] == ["n/a"] * 4 + ["bright marrow abc"] + ["n/a"] * 5
    assert all(0 <= float(row["seconds"]) < 600 for row in table)
    assert {row["study"] for row in table} == {second.run("return study.id")}
    assert {row["draw"] for row in table} == {"0123456789ab"}

    scored = rows(
        shell(f"oa-pairs score {tmp_path}/downloads/answers-jd.tsv --key key.tsv", cwd=study).stdout
    )
    assert (scored[0]["reader"], scored[0]["right"], scored[0]["rank_auc"]) == (
        "jd",
        "8",
        f"{8 / 9:.6f}",
    )
    assert scored[0]["n_unanswered"] == "1"


def test_safaris_engine_reads_keeps_and_exports_too(page, safari, rows):
    driver = safari()
    reader = Reader(driver, page).begin("jd")
    reader.press("b", "4", "n", "bone", Keys.ESCAPE, Keys.ENTER).until(
        lambda: "Pair 2 " in reader.where()
    )
    reader.ready().press("s").until(lambda: reader.slices() == [9, 9])
    assert reader.pixels().max() == 255
    reader.click("choose-A").press("p").until(lambda: reader.of("paused").get_attribute("open"))
    again = Reader(driver, page)  # opened anew
    driver.find_element(By.CSS_SELECTOR, "#readers button").click()
    again.ready()
    assert (again.where(), again.chosen()) == ("Pair 2 of 10, 2 answered", ["A"])
    again.press("e").until(lambda: again.of("saved").get_attribute("open"))
    table = rows(again.of("table").get_attribute("value"))
    assert [row["choice"] for row in table[:3]] == ["B", "A", "n/a"]
    assert (table[0]["confidence"], table[0]["notes"]) == ("4", "bone")


def test_what_is_on_screen_is_the_scan(study, page, browser):
    reader = Reader(browser(), page).begin("jd")
    row = (study / "pairs.tsv").read_text().splitlines()[1].split("\t")  # A of the first pair
    for number, (sequence, (slices, shape, spacing)) in enumerate(SEQUENCES.items(), start=1):
        path = study / f"{row[0]}_{sequence}.nii"
        frame = images.common_frame([path], sequence)
        grey = images.grey_values(path, row[3], frame)
        loaded = reader.run(
            f"return load(study.pairs[0].files.A[{number - 1}], {list(shape)}).then((v) => Array.from(v.grey))"
        )
        assert np.array_equal(np.array(loaded).reshape(shape[::-1]), grey)
        # Drawn: the middle slice, as many times as large as fits, its own percentiles for black and
        # white.
        values, counts = np.unique(grey[grey > 0], return_counts=True)
        share = np.cumsum(counts) / counts.sum()
        low, high = ((values[np.searchsorted(share, q)] / 255) ** 2 for q in (0.01, 0.995))
        middle = np.clip(((grey[shape[2] // 2] / 255.0) ** 2 - low) / (high - low), 0, 1) * 255
        screen = reader.pixels()
        scale = min(screen.shape[1] / shape[0], screen.shape[0] / shape[1])
        top, left = (
            (screen.shape[0] - shape[1] * scale) / 2,
            (screen.shape[1] - shape[0] * scale) / 2,
        )
        at = [
            [
                screen[int(top + (r + 0.5) * scale), int(left + (c + 0.5) * scale)]
                for c in range(shape[0])
            ]
            for r in range(shape[1])
        ]
        assert np.corrcoef(np.ravel(at), middle.ravel())[0, 1] > 0.99
        assert np.abs(np.array(at) - middle).mean() < 12  # the browser interpolates between pixels
        ends = [
            reader.driver.find_element(By.CSS_SELECTOR, f"[data-place=A] .{mark}").text
            for mark in ("left", "right")
        ]
        assert ends == (["lateral", "medial"] if slices == "coronal" else ["posterior", "anterior"])
        bar = reader.driver.find_element(By.CSS_SELECTOR, "[data-place=A] .bar")
        assert (bar.text, bar.size["width"]) == (
            "10 mm",
            pytest.approx(10 / spacing[0] * scale, abs=1),
        )
        reader.press("s").ready()
    # On a finer screen the canvas has its pixels, and what is drawn is as large.
    reader.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 1442, "height": 902, "deviceScaleFactor": 2, "mobile": False},
    )
    wide, high = (
        screen.shape[1] + 1,
        screen.shape[0] + 2,
    )  # half of what the window grew by; all of it
    reader.until(
        lambda: (
            reader.run("return [panels.A.canvas.width, panels.A.canvas.height]")
            == [2 * wide, 2 * high]
        )
    )
    bar = reader.driver.find_element(By.CSS_SELECTOR, "[data-place=A] .bar")
    assert bar.size["width"] == pytest.approx(10 / 0.5 * min(wide / 24, high / 20), abs=1)


def test_slices_scroll_by_wheel_keys_and_slider_together_or_alone(page, browser):
    reader = Reader(browser(), page).begin("jd")
    assert reader.slices() == [4, 4]
    before = reader.pixels("B")
    ActionChains(reader.driver).scroll_from_origin(
        ScrollOrigin.from_element(reader.canvas("A")), 0, 120
    ).perform()
    reader.until(lambda: reader.slices() == [5, 5])
    assert not np.array_equal(before, reader.pixels("B"))
    reader.press(Keys.ARROW_UP, Keys.ARROW_UP)
    assert reader.slices() == [3, 3]
    reader.press(Keys.END)
    assert reader.slices() == [7, 7]
    reader.press(Keys.PAGE_UP)
    assert reader.slices() == [2, 2]
    reader.press(Keys.HOME, Keys.ARROW_UP)
    assert reader.slices() == [1, 1]
    reader.press("l")
    assert reader.of("link").get_attribute("aria-pressed") == "false"
    ActionChains(reader.driver).scroll_from_origin(
        ScrollOrigin.from_element(reader.canvas("B")), 0, 120
    ).perform()
    reader.until(lambda: reader.slices() == [1, 2])
    reader.press(Keys.ARROW_DOWN)
    assert reader.slices() == [1, 3]
    reader.press("x", Keys.ARROW_DOWN)
    assert reader.slices() == [2, 3]
    reader.driver.find_element(By.CSS_SELECTOR, "[data-place=A] input").send_keys(Keys.ARROW_RIGHT)
    assert reader.slices() == [3, 3]
    x = reader.run("return panels.B.slider.clientWidth") // 3
    ActionChains(reader.driver).move_to_element_with_offset(
        panel_slider(reader), x, 0
    ).click().perform()
    (slice_a, slice_b) = reader.slices()
    assert (slice_a, slice_b) == (3, 6)
    reader.press(
        Keys.ARROW_DOWN
    )  # the next slice, as elsewhere: the slider does not keep the arrows
    assert reader.slices() == [3, 7]
    reader.press("s")
    reader.until(lambda: reader.slices() == [9, 9])  # the other sequence, at its own slice
    assert "lateral to medial" in reader.driver.find_element(By.CSS_SELECTOR, ".view .slice").text


def panel_slider(reader, place="B"):
    return reader.driver.find_element(By.CSS_SELECTOR, f"[data-place={place}] input")


def test_keyboards_without_latin_letters_or_with_digits_behind_shift(page, browser):
    reader = Reader(browser(), page).begin("jd")

    def typed(key, code, **modifiers):
        event = {"key": key, "code": code, "bubbles": True, **modifiers}
        reader.run(
            f"document.body.dispatchEvent(new KeyboardEvent('keydown', {json.dumps(event)}))"
        )

    typed("\u0438", "KeyB")  # Russian
    assert reader.chosen() == ["B"]
    typed("q", "KeyA")  # French: no A
    assert reader.chosen() == ["B"]
    typed("a", "KeyQ")
    assert reader.chosen() == ["A"]
    typed("\u00e9", "Digit2")  # French
    assert reader.run("return answers[0].confidence") == 2
    typed("[", "Digit8", ctrlKey=True, altKey=True, modifierAltGraph=True)  # German, on Windows
    assert reader.of("window").get_attribute("value") == "95"
    typed("b", "KeyB", ctrlKey=True)  # the browser's own
    assert reader.chosen() == ["A"]


def test_window_level_zoom_and_position_by_mouse_and_keys(page, browser):
    reader = Reader(browser(), page).begin("jd")
    plain = reader.pixels()
    ActionChains(reader.driver).click_and_hold(reader.canvas()).move_by_offset(
        0, -60
    ).release().perform()
    assert float(reader.of("level").get_attribute("value")) > 50
    assert reader.pixels().mean() < plain.mean()  # a higher level is darker
    reader.press("0")
    assert np.array_equal(reader.pixels(), plain)
    reader.press("[", "[", "[", "[", "[", "[", "[", "[")
    assert reader.of("window").get_attribute("value") == "60"
    assert reader.pixels().std() > plain.std()
    reader.press("]", "0", ".", ".")
    assert reader.pixels().mean() > plain.mean()
    reader.press("0", "+", "+")
    zoomed = reader.pixels()
    assert (
        zoomed.any(axis=1).sum() > plain.any(axis=1).sum()
    )  # the fitted image had margins above and below
    ActionChains(reader.driver).key_down(Keys.SHIFT).click_and_hold(reader.canvas()).move_by_offset(
        40, 0
    ).release().key_up(Keys.SHIFT).perform()
    assert (
        np.abs(reader.pixels()[:, 60:-60].astype(int) - zoomed[:, 20:-100]).mean() < 1
    )  # 40 pixels to the right
    assert reader.of("level").get_attribute("value") == "50"
    ActionChains(reader.driver).double_click(reader.canvas()).perform()
    assert np.array_equal(reader.pixels(), plain)


def test_a_reader_is_told_the_task_and_the_keys_before_the_first_pair(
    study, tmp_path, shell, browser
):
    said = "Narrower by 0.5 mm or more in 12 months."
    shell(
        f'oa-pairs page pairs.tsv volumes.tsv --about "{said}" -o {tmp_path}/told > /dev/null',
        cwd=study,
    )
    reader = Reader(browser(size=(1024, 768)), tmp_path / "told")
    shown = reader.of("start").text
    for part in (
        "10 pairs of knees",
        "Which of the two knees will progress?",
        said,
        "? lists all keys",
    ):
        assert part in shown
    reader.begin("jd")
    assert (
        reader.run("return [...$('sequences').children].map((e) => e.textContent)")[0]
        == "coronal IW TSE"
    )
    # All that answers a pair stands in one row.
    tops = "return ['choose-A', 'notes', 'next'].map((id) => Math.round($(id).getBoundingClientRect().bottom))"
    assert len(set(reader.run(tops))) == 1


def test_clinical_values_stand_in_rows_or_where_there_are_many_in_tables_side_by_side(
    study, browser, tmp_path, shell
):
    names = ["injury", "surgery", *(f"v{n}" for n in range(7, 13))]
    head, *lines = (study / "pairs.tsv").read_text().splitlines()
    lines = [
        f"{line}\t{n % 2}\tn/a\t" + "\t".join(f"{name}-{n}" for name in names[2:])
        for n, line in enumerate(lines)
    ]
    (tmp_path / "pairs.tsv").write_text("\n".join(["\t".join([head, *names]), *lines]) + "\n")
    asked = " ".join(f"--show {name}" for name in ["age", "sex", *names])
    shell(
        f"cd {study} && oa-pairs page {tmp_path}/pairs.tsv volumes.tsv --sequence cor-iw-tse {asked} -o {tmp_path}/many"
    )
    driver = browser()
    reader = Reader(driver, tmp_path / "many").begin("jd")

    def tables():
        return reader.run(
            "return [...document.querySelectorAll('#clinical table')].map((table) =>"
            " [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent)))"
        )

    shown = ["Age, years", "Sex", "Past injury", "Past surgery", *names[2:]]
    values = [
        ["A", "50", "female", "no", "–", *(f"{name}-0" for name in names[2:])],
        ["B", "51", "female", "yes", "–", *(f"{name}-1" for name in names[2:])],
    ]
    assert tables() == [[["", *shown], *values]]
    tall = reader.canvas().size["height"]
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 768, "height": 1024, "deviceScaleFactor": 1, "mobile": False},
    )
    reader.until(lambda: len(tables()) == 2)
    listed = [list(row) for row in zip(shown, values[0][1:], values[1][1:], strict=True)]
    assert tables() == [[["", "A", "B"], *listed[:6]], [["", "A", "B"], *listed[6:]]]
    fits = "return document.documentElement.scrollWidth <= innerWidth && document.body.scrollHeight <= innerHeight"
    assert reader.run(fits)
    assert tall > 300


def held_back(reader):
    """Make images arrive only when `arrive()` is called."""
    reader.run(
        "const gate = new Promise((open) => { window.arrive = open; }); const real = load;"
        "window.load = (...all) => gate.then(() => real(...all));"
    )


def test_images_that_come_late_are_not_shown_for_another_pair_and_count_no_time(page, browser):
    reader = Reader(browser(), page)
    reader.run("window.now = 1000; performance.now = () => window.now")
    reader.begin("jd").press("a", Keys.ENTER).until(lambda: "Pair 2 " in reader.where())
    reader.ready()
    reader.until(lambda: reader.run("return volumes.size") == 8)
    held_back(reader)
    reader.run("go(0)")  # its images are on their way when the reader turns back
    reader.run(
        "window.now += 50_000; const held = load; window.load = (...all) => new Promise(() => {}); go(1);"
    )
    reader.run("window.now += 9_000; arrive()")
    reader.run("return new Promise((done) => setTimeout(done, 300))")
    assert reader.run("return [panels.A.volume, ready]") == [None, False]
    reader.press("b", "3")  # nobody sees the pair
    assert (reader.chosen(), reader.run("return answers[1].confidence")) == ([], None)
    assert reader.run("keep(); return answers.slice(0, 2).map((answer) => answer.seconds)") == [
        0,
        0,
    ]


def test_another_sequence_that_is_loading_takes_no_answer_and_no_time(page, browser):
    reader = Reader(browser(), page)
    reader.run("window.now = 1000; performance.now = () => window.now")
    reader.begin("jd").run("window.now += 2_000")
    held_back(reader)
    reader.press("s").run("window.now += 20_000")
    reader.press("b", Keys.ENTER)
    assert (reader.where(), reader.chosen()) == ("Pair 1 of 10, 0 answered", [])
    reader.run("arrive()")
    reader.ready().press("b")
    assert reader.chosen() == ["B"]
    assert reader.run("return answers[0].seconds") == 2


def test_zoom_is_about_the_pointer_and_the_next_pair_begins_anew(page, browser):
    reader = Reader(browser(), page).begin("jd")
    box = reader.canvas().rect

    def wheel(delta):  # at a quarter of the view
        event = {
            "deltaY": delta,
            "ctrlKey": True,
            "bubbles": True,
            "cancelable": True,
            "clientX": box["x"] + box["width"] / 4,
            "clientY": box["y"] + box["height"] / 4,
        }
        reader.run(f"panels.A.canvas.dispatchEvent(new WheelEvent('wheel', {json.dumps(event)}))")

    def under():  # the place of the image there, from its middle, as a share of the image
        return reader.run(
            "const p = panels.A; const size = [p.fit * p.sequence.columns, p.fit * p.sequence.rows];"
            "const at = [-p.canvas.width / 4 / size[0], -p.canvas.height / 4 / size[1]];"
            "return [(at[0] - p.x) / p.zoom, (at[1] - p.y) / p.zoom]"
        )

    before = under()
    wheel(-120)
    assert 1 < reader.run("return panels.A.zoom") < 1.5  # a notch
    assert under() == pytest.approx(before, abs=1e-3)
    wheel(-8)  # two fingers on a touchpad
    assert under() == pytest.approx(before, abs=1e-3)
    reader.press("+", "+", "+")
    ActionChains(reader.driver).key_down(Keys.SHIFT).send_keys(*[Keys.ARROW_RIGHT] * 3).key_up(
        Keys.SHIFT
    ).perform()
    (x, zoom) = reader.run("return [panels.B.x, panels.B.zoom]")
    ActionChains(reader.driver).key_down(Keys.SHIFT).send_keys(*[Keys.ARROW_RIGHT] * 40).key_up(
        Keys.SHIFT
    ).perform()
    assert (
        x < reader.run("return panels.B.x") == pytest.approx(0.5 * (zoom - 1) + 0.25)
    )  # some of it stays in view
    reader.press("a", Keys.ENTER).until(lambda: "Pair 2 " in reader.where())
    assert reader.run("return both().map((p) => [p.zoom, p.x, p.y])") == [[1, 0, 0]] * 2
    ActionChains(reader.driver).click_and_hold(reader.canvas()).move_by_offset(
        40, 0
    ).release().perform()
    assert float(reader.of("window").get_attribute("value")) > 100


def test_held_keys_and_double_clicks_skip_no_pair(page, browser):
    reader = Reader(browser(), page).begin("jd")
    reader.press("4", "4").press("a")  # a confidence is withdrawn as it was given
    assert reader.run("return answers[0].confidence") is None
    reader.run("document.getElementById('next').focus()")
    for repeat in (False, True, True):
        event = json.dumps({"key": "Enter", "repeat": repeat, "bubbles": True, "cancelable": True})
        stopped = reader.run(
            f"return !document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {event}))"
        )
        assert stopped == repeat  # what the browser would make a click of
    ActionChains(reader.driver).double_click(reader.of("next")).perform()
    reader.until(lambda: "Pair 2 " in reader.where())
    reader.ready()
    assert reader.where() == "Pair 2 of 10, 1 answered"
    reader.press("b", Keys.ENTER).until(lambda: "Pair 3 " in reader.where())
    reader.ready().press(Keys.ENTER).until(lambda: "Pair 4 " in reader.where())
    reader.ready().press("a", "o").until(
        lambda: "Pair 3 " in reader.where()
    )  # the first that is open
    reader.ready().press("e").until(lambda: reader.of("saved").get_attribute("open"))
    reader.click("open").until(lambda: not reader.of("saved").get_attribute("open"))
    assert reader.where() == "Pair 3 of 10, 3 answered"


def test_a_note_stays_with_its_pair_and_the_keys_come_back_after_a_dialog(page, browser, tmp_path):
    reader = Reader(browser(), page).begin("jd").press("n", "osteophyte")
    reader.run(
        "document.getElementById('next').click()"
    )  # as voice control does it: the focus stays
    reader.until(lambda: "Pair 2 " in reader.where())
    reader.ready().press("!")
    assert reader.run("return answers.slice(0, 2).map((answer) => answer.notes)") == [
        "osteophyte",
        "",
    ]
    assert reader.of("notes").get_attribute("value") == ""
    for name, dialog in (("pause", "paused"), ("answers", "saved"), ("help", "keys")):
        reader.click(name).until(lambda d=dialog: reader.of(d).get_attribute("open"))
        reader.press(Keys.ESCAPE).until(lambda d=dialog: not reader.of(d).get_attribute("open"))
    reader.press(Keys.ENTER).until(lambda: "Pair 3 " in reader.where())
    reader.ready().press("e").until(lambda: reader.of("saved").get_attribute("open"))
    reader.click("download").press(Keys.ENTER)  # goes on, and does not save again
    reader.until(lambda: not reader.of("saved").get_attribute("open"))
    assert len(list((tmp_path / "downloads").glob("answers*"))) <= 1


def test_nobody_reads_without_a_name_or_by_mistake_under_another(page, browser):
    driver = browser()
    reader = Reader(driver, page)
    for _ in range(3):  # browsers close a dialog at Escape, whatever the page says
        reader.press(Keys.ESCAPE)
        reader.until(lambda: reader.of("start").get_attribute("open"))
    assert not reader.canvas().is_displayed()
    reader.run("setConfidence(3); openAnswers(); keep()")
    assert reader.run("return [localStorage.length, document.getElementById('saved').open]") == [
        0,
        False,
    ]
    for code in ("n/a", "  "):
        reader.of("reader").clear()
        reader.of("reader").send_keys(code + Keys.ENTER)
        assert reader.of("start").get_attribute("open")
    reader.of("reader").clear()
    reader.begin("jd").press("a")
    other = Reader(driver, page).begin("mk")  # the field has the focus, and not "Go on as jd"
    assert (other.run("return reader"), other.where()) == ("mk", "Pair 1 of 10, 0 answered")
    again = Reader(driver, page)
    again.of("reader").send_keys("jd" + Keys.ENTER)
    assert (
        again.of("imported").text
        == "jd has answered here before: go on as jd above, or choose another code."
    )
    assert again.of("start").get_attribute("open")
    again.press(Keys.ENTER).ready()  # the focus is on the button now
    assert (again.run("return reader"), again.chosen()) == ("jd", ["A"])


def test_what_the_browser_does_not_keep_is_not_lost_while_the_page_is_open(page, browser, tmp_path):
    driver = browser()
    reader = Reader(driver, page).begin("jd").press("a", Keys.ENTER)
    reader.ready().press("a").run(
        "window.real = Storage.prototype.setItem; Storage.prototype.setItem = () => { throw new Error('full'); }"
    )
    reader.press("b", "n", "bone", Keys.ESCAPE)
    assert "does not keep your answers" in reader.of("warning").text
    assert reader.run(
        "const leave = new Event('beforeunload', { cancelable: true }); window.dispatchEvent(leave);"
        "return leave.defaultPrevented"
    )
    reader.press(Keys.ENTER).until(lambda: reader.where() == "Pair 3 of 10, 2 answered")
    reader.ready().press(Keys.BACKSPACE).until(lambda: reader.chosen() == ["B"])
    reader.ready().run(
        "Storage.prototype.setItem = window.real; localStorage.clear()"
    )  # room again, and all gone
    reader.press(Keys.ENTER).until(lambda: "Pair 3 " in reader.where())
    assert not reader.of("warning").is_displayed()
    reader.ready().run(
        "window.now = performance.now(); performance.now = () => window.now + 7_000;"
        "window.dispatchEvent(new Event('pagehide'));"
    )
    assert (
        reader.run(
            "return JSON.parse(localStorage.getItem(store.prefix() + 'jd/answer/003')).seconds"
        )
        >= 7
    )
    again = Reader(driver, page)
    driver.find_element(By.CSS_SELECTOR, "#readers button").click()
    again.ready()
    assert again.where() == "Pair 3 of 10, 2 answered"
    assert again.run(
        "return answers.slice(0, 2).map((answer) => [answer.choice, answer.notes])"
    ) == [
        ["A", ""],
        ["B", "bone"],
    ]
    # One entry that cannot be read, or is none of ours, hides no other.
    again.run(
        "localStorage.setItem(store.prefix() + 'jd/answer/001', '{bad'); localStorage.setItem(store.prefix() + '%/at', '1')"
    )
    again = Reader(driver, page)
    driver.find_element(By.CSS_SELECTOR, "#readers button").click()
    again.ready()
    assert again.where() == "Pair 3 of 10, 1 answered"
    assert not again.of("warning").is_displayed()
    # A browser that keeps nothing at all can still go on from a file, and save one.
    text = changed(again.run("return table()"), tmp_path, (4, "choice", "A"))
    shut = Reader(browser("other"), page)
    shut.run(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('closed'); } })"
    )
    shut.of("import").send_keys(text)
    shut.until(lambda: shut.of("imported").text)
    shut.driver.find_element(By.CSS_SELECTOR, "#readers button").click()
    shut.ready()
    assert shut.where() == "Pair 1 of 10, 2 answered"
    assert "does not keep" in shut.of("warning").text


@pytest.mark.parametrize("note", ["=1+1", "+1", "-1", "@x", "'q", "\uff1d1"])
def test_no_note_is_a_formula(page, browser, note):
    reader = Reader(browser(), page).begin("jd")
    assert reader.run(f"return cell({json.dumps(note)})") == f"'{note}"
    assert reader.run(f"return plain(cell({json.dumps(note)}))") == note
    assert reader.run("return [cell('a=1'), plain('a=1')]") == ["a=1", "a=1"]


def test_a_tablet_scrolls_zooms_and_answers_by_touch(page, browser):
    driver = browser(size=(768, 1024))
    driver.execute_cdp_cmd(
        "Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2}
    )
    reader = Reader(driver, page).begin("jd")

    def touch(kind, *points, first=0):  # fingers are told apart by their numbers
        places = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points, start=first)]
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    def middle(element):
        box = element.rect
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    x, y = middle(reader.canvas("A"))
    touch("touchStart", (x, y))
    for step in range(1, 7):
        touch("touchMove", (x, y + 6 * step))
    touch("touchEnd")
    reader.until(lambda: reader.slices() == [7, 7])
    plain = reader.pixels()
    touch("touchStart", (x - 30, y), (x + 30, y))
    for step in range(1, 7):
        touch("touchMove", (x - 30 - 10 * step, y), (x + 30 + 10 * step, y))
    touch("touchEnd")
    assert reader.run("return panels.A.zoom") == pytest.approx(3, rel=0.05)
    assert reader.run("return panels.B.zoom") == pytest.approx(3, rel=0.05)
    assert not np.array_equal(reader.pixels(), plain)
    assert reader.slices() == [7, 7]
    touch("touchStart", (x - 30, y), (x + 30, y))
    touch("touchMove", (x + 10, y), (x + 70, y))  # both to the right
    assert reader.run("return panels.A.x") > 0
    touch("touchEnd", (x + 70, y), first=1)  # one is up, and the other drifts
    for step in range(1, 5):
        touch("touchMove", (x + 10, y - 12 * step))
    touch("touchEnd")
    touch("touchStart", (x, y))
    touch("touchMove", (x, y - 14))  # a finger that trembles
    touch("touchEnd")
    assert reader.slices() == [7, 7]
    x, y = middle(reader.of("choose-B"))
    touch("touchStart", (x, y))
    touch("touchEnd")
    reader.until(lambda: reader.chosen() == ["B"])
    # Fingers find what they aim at, and nothing lies beyond the edge of the screen.
    for button in driver.find_elements(By.CSS_SELECTOR, "header button, nav button, footer button"):
        assert min(button.size.values()) >= 44
    assert reader.run(
        "return document.documentElement.scrollWidth <= innerWidth && document.body.scrollHeight <= innerHeight"
    )


def test_the_clock_counts_what_is_on_screen_and_no_pause(page, browser, tmp_path, rows):
    reader = Reader(browser(), page)
    reader.run("window.now = 1000; performance.now = () => window.now")
    reader.begin("jd")

    def wait(seconds):
        reader.run(f"window.now += {1000 * seconds}")

    wait(10)
    reader.press("p").until(lambda: reader.of("paused").get_attribute("open"))
    wait(500)
    assert not reader.canvas().is_displayed()  # a passer-by sees no patient
    reader.press("a")  # no key but the dialog's own is heard
    reader.press(Keys.ENTER).until(lambda: not reader.of("paused").get_attribute("open"))
    assert reader.chosen() == []
    wait(5)
    reader.press("?").until(lambda: reader.of("keys").get_attribute("open"))
    wait(100)
    reader.press(Keys.ESCAPE).until(lambda: not reader.of("keys").get_attribute("open"))
    reader.press("b", Keys.ENTER)
    reader.until(lambda: "Pair 2 " in reader.where())
    reader.ready()
    wait(3)
    reader.press("a", Keys.BACKSPACE).until(lambda: "Pair 1 " in reader.where())
    reader.ready()
    wait(2)  # a second look at the first pair
    reader.press("s").ready()
    wait(7 * 3600)  # home for the night, the page left open
    reader.press(Keys.ARROW_DOWN)
    wait(4)
    table = rows(reader.export(tmp_path / "downloads", "answers-jd.tsv").read_text())
    assert [row["seconds"] for row in table] == ["21.0", "3.0"] + ["n/a"] * 8


def test_a_page_that_is_left_alone_pauses(page, browser):
    reader = Reader(browser(), page)
    reader.run("window.now = 1000; performance.now = () => window.now")
    reader.begin("jd").run("window.now += 301_000")
    reader.until(lambda: reader.of("paused").get_attribute("open"))
    assert not reader.canvas().is_displayed()


def test_two_windows_of_a_reader_do_not_overwrite_each_other(page, browser):
    driver = browser()
    first = Reader(driver, page).begin("jd")
    (window,) = driver.window_handles
    driver.switch_to.new_window("tab")
    driver.get((page / "index.html").as_uri())
    second = Reader(driver, page)
    driver.find_element(By.CSS_SELECTOR, "#readers button").click()
    second.ready().press("a", "4", "n", "bone", Keys.ESCAPE, Keys.ENTER)
    second.until(lambda: second.where() == "Pair 2 of 10, 1 answered")
    second.ready().press("b")
    driver.switch_to.window(
        window
    )  # which saves the time spent on the first pair, as hidden and shown pages do
    first.until(lambda: first.where() == "Pair 1 of 10, 2 answered")
    first.press("5", Keys.ENTER)
    first.ready()
    assert (first.where(), first.chosen()) == ("Pair 2 of 10, 2 answered", ["B"])

    def elsewhere(pair, choice):  # said in a window of which the browser tells this one nothing
        entry = json.dumps({"choice": choice, "confidence": 3, "seconds": 40, "notes": ""})
        first.run(f"localStorage.setItem(store.prefix() + 'jd/answer/{pair}', {json.dumps(entry)})")

    elsewhere("003", "A")
    first.press(Keys.ENTER)
    first.ready()
    assert (first.where(), first.chosen()) == ("Pair 3 of 10, 3 answered", ["A"])
    elsewhere("009", "B")
    first.press("e").until(lambda: first.of("saved").get_attribute("open"))
    lines = [line.split("\t") for line in first.of("table").get_attribute("value").splitlines()[1:]]
    assert [[*lines[n][1:4], lines[n][5]] for n in (0, 1, 2, 8)] == [
        ["001", "A", "5", "bone"],
        ["002", "B", "n/a", "n/a"],
        ["003", "A", "3", "n/a"],
        ["009", "B", "3", "n/a"],
    ]


def test_two_readers_share_a_browser_and_an_export_goes_on_elsewhere(page, browser, tmp_path):
    driver = browser()
    Reader(driver, page).begin("jd").press("a", "5", Keys.ENTER)
    reader = Reader(driver, page).begin("mk")
    assert (reader.where(), reader.chosen()) == ("Pair 1 of 10, 0 answered", [])
    reader.press("b", "2", "n", "note", Keys.ESCAPE, Keys.ENTER).until(
        lambda: "Pair 2 " in reader.where()
    )
    reader.ready()
    exported = reader.export(tmp_path / "downloads", "answers-mk.tsv")

    other = Reader(browser("another"), page)
    other.of("import").send_keys(str(exported))
    other.until(lambda: other.of("imported").text)
    assert (
        other.of("imported").text == "Answers taken of mk: 1, already given here: 0. Go on above."
    )
    other.driver.find_element(By.CSS_SELECTOR, "#readers button").click()
    other.ready()
    assert other.where() == "Pair 2 of 10, 1 answered"
    other.press(Keys.BACKSPACE).until(lambda: other.chosen() == ["B"])
    assert other.of("notes").get_attribute("value") == "note"
    other.ready().press("e")
    first = [line.split("\t") for line in exported.read_text().splitlines()][1]
    again = [line.split("\t") for line in other.of("table").get_attribute("value").splitlines()][1]
    assert first[:4] + first[5:] == again[:4] + again[5:]


def changed(text, folder, *cells):
    """A file of answers in which cells (row, column, text) were changed, as a spreadsheet saves it."""
    head, *lines = [line.split("\t") for line in text.splitlines()]
    for row, column, cell in cells:
        lines[row][head.index(column)] = cell
    path = folder / "changed.tsv"
    path.write_text("\ufeff" + "\r\n".join("\t".join(line) for line in [head, *lines]) + "\r\n")
    return str(path)


def test_an_import_keeps_what_was_said_here(page, browser, tmp_path):
    driver = browser()
    reader = Reader(driver, page).begin("jd").press("a", "5", Keys.ENTER)
    reader.ready().press("4", "n", "suspicious", Keys.ESCAPE).run(
        "clock.spent += 30"
    )  # no choice yet
    text = reader.export(tmp_path / "downloads", "answers-jd.tsv").read_text()
    path = changed(
        text,
        tmp_path,
        (0, "choice", "B"),
        (0, "confidence", "1"),
        (0, "seconds", "900,5"),
        (0, "pair", "1"),
        (1, "choice", "b "),
        (1, "confidence", "2"),
        (1, "notes", "other"),
        (1, "seconds", "20"),
        (2, "choice", "A"),
        (2, "notes", "'=bone"),
        (3, "confidence", "2"),
    )
    reader = Reader(driver, page)
    reader.of("import").send_keys(path)
    reader.until(lambda: reader.of("imported").text)
    assert (
        reader.of("imported").text == "Answers taken of jd: 2, already given here: 1. Go on above."
    )
    driver.find_element(By.CSS_SELECTOR, "#readers button").click()
    reader.ready()
    assert reader.where() == "Pair 4 of 10, 3 answered"
    reader.press("e").until(lambda: reader.of("saved").get_attribute("open"))
    table = [
        line.split("\t")[2:6] for line in reader.of("table").get_attribute("value").splitlines()[1:]
    ]
    assert table[0] == ["A", "5", "900.5", "n/a"]  # the longer time, which holds the shorter
    assert (table[1][:2], table[1][3]) == (["B", "4"], "suspicious")
    assert 30 <= float(table[1][2]) < 60
    assert table[2] == ["A", "n/a", "n/a", "'=bone"]
    assert table[3][:2] == ["n/a", "2"]


@pytest.mark.parametrize(
    "cells,message",
    [
        ([(1, "pair", "012")], "Pair 012 of the file is not on this page."),
        ([(1, "reader", "mk")], "These are answers of several readers."),
        ([(1, "study", "0123456789abcdef")], "These are answers to other pairs"),
        ([(1, "pair", "1")], "Pair 001 is in the file twice; keep one row of it."),
        ([(2, "choice", "C")], "Pair 003: 'C' cannot be its choice; correct the file."),
        ([(2, "confidence", "7")], "Pair 003: '7' cannot be its confidence"),
        ([(2, "seconds", "-40")], "Pair 003: '-40' cannot be its seconds"),
        ([(n, "reader", "n/a") for n in range(10)], "does not say whose answers these are"),
    ],
)
def test_a_file_of_other_answers_is_not_taken(page, browser, tmp_path, cells, message):
    driver = browser()
    reader = Reader(driver, page).begin("jd").press("a")
    text = reader.export(tmp_path / "downloads", "answers-jd.tsv").read_text()
    reader.run("localStorage.clear()")
    other = Reader(driver, page)
    other.run("localStorage.clear()")  # also what was kept when the page was left
    other = Reader(driver, page)
    other.of("import").send_keys(changed(text.replace("\tpair\t", "\tpair\t"), tmp_path, *cells))
    other.until(lambda: other.of("imported").text)
    assert message in other.of("imported").text
    assert not other.driver.find_elements(By.CSS_SELECTOR, "#readers button")
    (tmp_path / "x.tsv").write_text(text.replace("choice", "wahl"))
    other.of("import").send_keys(str(tmp_path / "x.tsv"))
    other.until(
        lambda: (
            "no file of answers: its columns should be reader, pair," in other.of("imported").text
        )
    )


def test_nothing_but_the_folder_is_loaded_and_nothing_is_logged(page, browser):
    driver = browser()
    reader = Reader(driver, page).begin("jd")
    reader.press("s").ready()  # keys count only once the other sequence is on screen
    reader.press("a", Keys.ENTER).until(lambda: "Pair 2 " in reader.where())
    reader.ready()
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {
        unquote(m["params"]["request"]["url"])
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    }
    asked = {address for address in asked if not address.startswith(("chrome", "data:", "about:"))}
    assert len(asked) >= 4 + 8  # the page's own files, and the volumes of two pairs
    assert all(address.startswith(page.as_uri()) for address in asked), asked
    # Asked for by the study's name, too, so that no cache gives what was here before.
    name = reader.run("return study.id")
    assert all(address.endswith(f".js?{name}") for address in asked if "/volumes/" in address)
    assert [
        entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ] == []
    # Nor could anything else be: the page's own rules forbid it.
    script = "const done = arguments[0]; document.addEventListener('securitypolicyviolation', (e) => done(e.blockedURI));"
    assert driver.execute_async_script(
        f"{script} new Image().src = 'http://127.0.0.1:9/x.png'"
    ).startswith("http://127")
    assert driver.execute_async_script(
        f"{script} fetch('https://127.0.0.1:9/y').catch(() => 0)"
    ).startswith("https://127")
    # Only what is near is kept: the volumes of this pair and of the next.
    reader.press(Keys.ENTER).until(lambda: "Pair 3 " in reader.where())
    reader.ready()
    reader.until(lambda: reader.run("return volumes.size") == 8)


def test_a_folder_that_was_not_copied_whole_says_so(page, browser):
    (page / "volumes" / "001-B-1.js").unlink()
    whole = (page / "volumes" / "002-A-1.js").read_text()
    (page / "volumes" / "002-A-1.js").write_text("")
    reader = Reader(browser(), page)
    reader.of("reader").send_keys("jd" + Keys.ENTER)
    reader.until(lambda: "001-B-1.js is missing; copy the folder whole" in reader.of("panels").text)
    assert reader.of("choose-A").get_attribute("aria-disabled") == "true"
    reader.press("a", Keys.ENTER).until(lambda: "002-A-1.js is damaged" in reader.of("panels").text)
    assert reader.where() == "Pair 2 of 10, 0 answered"
    other = (
        page / "volumes" / "003-A-1.js"
    ).read_text()  # as from another study, whose files have the same names
    (page / "volumes" / "002-A-1.js").write_text(other.replace("003-A-1", "002-A-1"))
    reader.press("s", "s").until(
        lambda: "002-A-1.js is of another study; copy the folder again" in reader.of("panels").text
    )
    assert reader.run("return panels.A.volume") is None
    (page / "volumes" / "002-A-1.js").write_text(whole)  # copied again
    reader.press("s", "s").ready()
    assert reader.of("choose-A").get_attribute("aria-disabled") == "false"
    assert reader.run(
        "return [...document.querySelectorAll('.message')].map((m) => m.textContent)"
    ) == ["", ""]
    (page / "study.js").unlink()
    reader.driver.get((page / "index.html").as_uri())
    reader.until(
        lambda: "study.js is missing" in reader.driver.find_element(By.TAG_NAME, "body").text
    )


HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    '=HYPERLINK("http://x")',
    "</script><b>bold</b>",
    "${window.hacked = 1}",
    '"); window.hacked = 1; ("',
    "&lt;i&gt;",
    "../../etc/passwd",
]


def test_hostile_text_is_shown_as_text_and_exported_as_text(study, browser, tmp_path, shell, rows):
    head, *lines = (study / "pairs.tsv").read_text().splitlines()
    lines = [f"{line}\t{HOSTILE[n % len(HOSTILE)]}" for n, line in enumerate(lines)]
    lines = [
        line.replace("\t001\t", f"\t{HOSTILE[0]}\t").replace("\t002\t", f"\t{HOSTILE[7]}\t")
        for line in lines
    ]
    (tmp_path / "pairs.tsv").write_text(f"{head}\t{HOSTILE[1]}\n" + "\n".join(lines) + "\n")
    volumes = (
        (study / "volumes.tsv")
        .read_text()
        .replace("\t900", f"\t{study}/900")
        .replace("cor-iw-tse\t", "<u>cor</u>\t")
    )
    (tmp_path / "volumes.tsv").write_text(volumes)
    shell(f"""oa-pairs page pairs.tsv volumes.tsv -o reading --title '{HOSTILE[3]}' --question '{HOSTILE[0]}' \
        --answer '<b>{HOSTILE[4]}</b>' --sequence '<u>cor</u>' --show age --show sex --show "{HOSTILE[1]}" > page.tsv""")
    assert sorted(path.name for path in (tmp_path / "reading" / "volumes").iterdir())[:2] == [
        "001-A-1.js",
        "001-B-1.js",
    ]
    reader = Reader(browser(), tmp_path / "reading").begin("=cmd|' /C calc'!A0 <b>")
    for n in range(4):
        cells = reader.driver.find_elements(By.CSS_SELECTOR, "#clinical td:last-child")
        assert [cell.text for cell in cells] == [HOSTILE[2 * n], HOSTILE[2 * n + 1]]
        reader.press("n", "=1+1", Keys.TAB).run("document.activeElement.blur()")
        reader.press("a", Keys.ENTER).until(lambda n=n: f"Pair {n + 2} " in reader.where())
        reader.ready()
    assert reader.driver.find_elements(By.CSS_SELECTOR, "#clinical th")[-3].text == HOSTILE[1]
    assert reader.of("title").text == reader.driver.title == HOSTILE[3]
    assert reader.of("question").text == HOSTILE[0]
    assert reader.of("choose-A").text == f"A <b>{HOSTILE[4]}</b>"
    assert reader.of("sequences").text == "<u>cor</u>"
    assert (
        reader.driver.find_elements(
            By.CSS_SELECTOR, "img, b, u, i, iframe, body > script:not([src])"
        )
        == []
    )
    assert reader.run("return window.hacked") is None
    (name,) = [reader.export(tmp_path / "downloads", "answers-cmd-C-calc-A0-b.tsv")]
    table = rows(name.read_text())
    assert {row["reader"] for row in table} == {"'=cmd|' /C calc'!A0 <b>"}
    assert [row["notes"] for row in table[:5]] == ["'=1+1"] * 4 + ["n/a"]
    assert [row["pair"] for row in table[:2]] == [HOSTILE[0], HOSTILE[7]]
    # Read again by another reader's page, the reader sees what was written.
    other = Reader(browser("another"), tmp_path / "reading")
    other.of("import").send_keys(str(name))
    other.until(lambda: other.of("imported").text)
    assert (
        other.driver.find_element(By.CSS_SELECTOR, "#readers button").text
        == "Go on as =cmd|' /C calc'!A0 <b>"
    )
