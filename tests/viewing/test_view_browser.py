"""The page of oa-view in real browsers, from disk: Chromium, and WebKit, Safari's engine."""

import json

import numpy as np
import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait


class Onlooker:
    """What a person does with the page, and sees of it."""

    def __init__(self, driver, path):
        self.driver = driver
        driver.get(path.as_uri())
        self.ready()

    def run(self, script):
        return self.driver.execute_script(script)

    def ready(self):
        WebDriverWait(self.driver, 20).until(lambda _: self.run("return ready"))
        return self

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()
        return self.ready()

    def complaints(self):
        """What the browser says of the page, but for how often this test reads the screen."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        return [message for message in said if "willReadFrequently" not in message]

    def requests(self):
        """The addresses that were asked for, but for those of Chromium's own first tab."""
        logged = self.driver.get_log("performance")
        messages = [json.loads(entry["message"])["message"] for entry in logged]
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        addresses = [each["request"]["url"] for each in sent]
        return [each for each in addresses if not each.startswith(("chrome:", "data:"))]

    def text(self, name):
        return self.driver.find_element(By.ID, name).text

    def knees(self):
        """The knees of the table, from the top."""
        cells = self.driver.find_elements(By.CSS_SELECTOR, "#knees tbody td:first-child")
        return [cell.text for cell in cells]

    def sort(self, column):
        self.driver.find_element(By.CSS_SELECTOR, f"[data-column={column}]").click()
        return self.knees()

    def colour(self, column, row):
        """Red, green and blue on screen in the middle of a pixel of the scan."""
        return self.run(
            "const {columns, rows} = view.sequence, scale = view.fit * view.zoom;"
            f"const x = view.canvas.width / 2 + ({column} + 0.5 - columns / 2) * scale;"
            f"const y = view.canvas.height / 2 + ({row} + 0.5 - rows / 2) * scale;"
            "return Array.from(view.canvas.getContext('2d').getImageData(x, y, 1, 1).data).slice(0, 3)"
        )

    def is_grey(self, column, row):
        colour = self.colour(column, row)
        return max(colour) - min(colour) <= 2


def see_the_hot_spot(page):
    """The planted spot is hot in its slice, at its place and side, and nowhere else."""
    assert page.text("name") == "1_00m_right"
    assert page.text("where") == "2 of 7, attention 20.0 %"  # the hottest slice comes first
    assert (page.text("left"), page.text("right"), page.text("up")) == (
        "lateral",
        "medial",
        "superior",
    )
    assert page.text("turned") == "Right knee, mirrored to lie as a left one"
    red, green, blue = page.colour(4, 3)
    assert red > blue + 30 and green > blue + 20  # inferno's yellow over white
    for column, row in ((19, 3), (4, 16), (19, 16), (7, 3), (4, 6)):
        assert page.is_grey(column, row), (column, row)
    page.press(Keys.ARROW_DOWN)
    assert page.text("where").startswith("3 of 7") and page.is_grey(4, 3)
    page.press("g")
    assert page.text("where").startswith("2 of 7") and not page.is_grey(4, 3)
    page.press("h")
    assert page.is_grey(4, 3)
    page.press("h")
    strong = page.colour(4, 3)
    page.press("j", "j", "j")
    assert page.run("return show.opacity") == 30
    weak = page.colour(4, 3)
    assert weak[2] > strong[2] + 20 and not page.is_grey(4, 3)
    # The bar has the colour that the image has: the hottest over its brightest grey.
    page.press("k", "k", "k")
    bar = page.run(
        "const c = document.getElementById('colours');"
        "return Array.from(c.getContext('2d').getImageData(255, 2, 1, 1).data).slice(0, 3)"
    )
    table = page.run("return Array.from(colours.slice(765))")
    np.testing.assert_allclose(bar, 215 * 0.4 + 0.6 * np.array(table), atol=1.5)
    pixel = page.run("return Array.from(view.image.getContext('2d').getImageData(4, 3, 1, 1).data)")
    np.testing.assert_allclose(pixel[:3], 255 * 0.4 + 0.6 * np.array(table), atol=1.5)


def test_a_folder_in_chromium(knees, oa, browser):
    assert oa("view", knees / "cam.tsv", "-o", knees / "view").exit_code == 0
    page = Onlooker(browser(), knees / "view" / "index.html")
    assert page.text("count") == "3 knees"
    assert "research only" in page.driver.find_element(By.CLASS_NAME, "research").text
    assert page.knees() == ["2_00m_left", "1_00m_right", "3_00m_left"]  # by probability
    assert page.text("name") == "2_00m_left" and page.text("where") == "4 of 7"
    assert page.text("probability-text") == "0.900"
    assert not page.driver.find_element(By.ID, "heat").is_displayed()
    page.press(Keys.ARROW_RIGHT)
    assert page.text("probability-text") == "0.750"
    assert page.text("verdict") == "Positive: at or above the model's threshold of 0.400"
    assert "Age, years 61\nSex female" in page.text("values")
    assert "says nothing about patients" in page.text("said") and "a toy" in page.text("said")
    see_the_hot_spot(page)
    assert page.sort("age") == ["1_00m_right", "3_00m_left", "2_00m_left"]
    assert page.sort("age") == ["2_00m_left", "3_00m_left", "1_00m_right"]
    assert page.sort("knee") == ["1_00m_right", "2_00m_left", "3_00m_left"]
    page.press("/", "left", Keys.ESCAPE)
    assert page.knees() == ["2_00m_left", "3_00m_left"] and page.text("count") == "2 of 3 knees"
    page.run("document.getElementById('filter').value = ''; showList(); choose(study.knees[0])")
    page.ready()
    bars = page.driver.find_elements(By.CSS_SELECTOR, "#bars i")
    assert len(bars) == 7
    bars[5].click()
    assert page.text("where").startswith("6 of 7")
    heights = [bar.rect["height"] for bar in bars]
    assert heights[0] > 30
    shares = page.run(
        "return [...document.querySelectorAll('#bars i')].map((b) => parseFloat(b.style.getPropertyValue('--part')))"
    )
    np.testing.assert_allclose(shares, [100, 40, 20, 20, 10, 10, 0])
    page.press("?")
    assert page.driver.find_element(By.ID, "keys").get_attribute("open")
    assert page.complaints() == []
    folder = (knees / "view").as_uri()
    asked = page.requests()
    assert len(asked) > 4 and all(address.startswith(folder) for address in asked)


def test_one_file_in_chromium_asks_for_nothing_else(knees, oa, browser):
    assert oa("view", knees / "cam.tsv", "-o", knees / "v.html").exit_code == 0
    alone = knees / "elsewhere"
    alone.mkdir()
    (knees / "v.html").rename(alone / "v.html")
    page = Onlooker(browser(), alone / "v.html")
    page.press(Keys.ARROW_RIGHT)
    see_the_hot_spot(page)
    assert page.complaints() == []
    assert page.requests() == [(alone / "v.html").as_uri()]


@pytest.mark.parametrize("name", ["view/index.html", "view.html"])
def test_safaris_engine_shows_the_same(knees, oa, safari, name):
    assert oa("view", knees / "cam.tsv", "-o", knees / name.split("/")[0]).exit_code == 0
    page = Onlooker(safari(), knees / name)
    page.press(Keys.ARROW_RIGHT)
    see_the_hot_spot(page)
