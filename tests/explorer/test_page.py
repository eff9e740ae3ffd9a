"""The page in headless Chromium: what a person does with it, from the first click to the export.

The time from a click to the repainted view of a large map is printed, not asserted: run
`pytest -m "browser and slow" -s tests/explorer/test_page.py`.
"""

import filecmp
import json
import os
import shlex
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import deo
from deo.cli import cli

Make = Callable[..., Any]
pytestmark = pytest.mark.browser

_CLICK = """
const place = map.map.latLngToContainerPoint([-(arguments[0] + 0.5), arguments[1] + 0.5]);
const box = map.map.getContainer().getBoundingClientRect();
const [clientX, clientY] = [box.left + place.x, box.top + place.y];
const at = { clientX, clientY, bubbles: true, view: window };
const target = document.elementFromPoint(clientX, clientY);
for (const kind of ["mousedown", "mouseup", "click"])
  target.dispatchEvent(new MouseEvent(kind, at));
"""
_OPTIONS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1280,800"
)  # fmt: skip
_CLASSES = [("<b>west</b>", [(4, 2), (9, 7), (15, 12)]), ("east", [(5, 18), (11, 22), (17, 28)])]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Chromium without a screen, 1280 x 800, whose downloads go to `tmp_path`/downloads."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in _OPTIONS:
        options.add_argument(f"--{argument}")
    folder = {"download.default_directory": str(tmp_path / "downloads")}
    options.add_experimental_option("prefs", folder)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


def wait(browser: Any, condition: str, *, seconds: float = 60) -> Any:
    """What a JavaScript expression gives, once that is true and the page is at rest."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = browser.execute_script(
            f"return state && map && waiting === 0 && map.overlay && ({condition})"
        )
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{condition} did not come true; {browser.get_log('browser')}")


def click(browser: Any, row: int, col: int) -> None:
    done = len(browser.execute_script("return window.deoRepaints ?? []"))
    browser.execute_script(_CLICK, row, col)
    wait(browser, f"(window.deoRepaints ?? []).length > {done}")


def add_class(browser: Any, name: str) -> None:
    count = browser.execute_script("return state.classes.length")
    browser.find_element("id", "new-name").send_keys(name + "\n")
    wait(browser, f"state.classes.length === {count + 1}")


def colour_at(browser: Any, row: int, col: int) -> list[int]:
    """Red, green and blue of the painted view at a cell of the first tile."""
    script = """
    const tile = Object.values(map.overlay._tiles).find((each) => each.current && !each.coords.x
      && !each.coords.y && each.coords.z === 0);
    return [...tile.el.getContext("2d").getImageData(arguments[1], arguments[0], 1, 1).data];
    """
    return list(browser.execute_script(script, row, col)[:3])


def download(browser: Any, name: str, path: Path) -> Path:
    browser.find_element("id", f"export-{name}").click()
    end = time.monotonic() + 60
    while not path.exists() or list(path.parent.glob("*.crdownload")):
        assert time.monotonic() < end, f"{path.name} was not downloaded"
        time.sleep(0.05)
    return path


def test_page__from_clicks_to_the_exported_map(
    synthetic: Make, write_map: Make, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deo.explore(write_map(synthetic())) as page:
        browser.get(page.url)
        wait(browser, "shown === 'components'")
        click(browser, 9, 20)
        first = colour_at(browser, 9, 5)
        click(browser, 9, 5)
        assert colour_at(browser, 9, 5) != first  # most similar to itself
        for name, cells in _CLASSES:
            add_class(browser, name)
            for cell in cells:
                click(browser, *cell)
        wait(browser, "shown === 'classes'")
        classes = browser.execute_script("return state.classes")
        assert [each["count"] for each in classes] == [3, 3]
        for (row, col), style in (((9, 3), classes[0]), ((9, 25), classes[1])):
            assert colour_at(browser, row, col) == list(bytes.fromhex(style["colour"][1:]))
        shown = browser.find_element("id", "legend")
        assert "<b>west</b>" in shown.text
        assert not shown.find_elements("css selector", "b")
        downloads = tmp_path / "downloads"
        labels = download(browser, "labels", downloads / "labels.geojson")
        exported = download(browser, "map", downloads / "map.tif").rename(tmp_path / "exported.tif")
        command = browser.find_element("id", "command").text
        browser.find_element("id", "undo").click()
        wait(browser, "state.classes[1].count === 2")
        requests = [
            json.loads(each["message"])["message"] for each in browser.get_log("performance")
        ]
        errors = [each for each in browser.get_log("browser") if each["level"] == "SEVERE"]
    assert labels.is_file()
    assert not errors
    urls = [each["params"]["request"]["url"] for each in requests
            if each["method"] == "Network.requestWillBeSent"]  # fmt: skip
    address = page.url.partition("#")[0]
    assert urls
    assert all(url.startswith((address, "blob:" + address)) for url in urls)
    monkeypatch.chdir(downloads)
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    assert filecmp.cmp(exported, downloads / "map.tif", shallow=False)


def test_page__works_by_keyboard_alone(synthetic: Make, write_map: Make, browser: Any) -> None:
    with deo.explore(write_map(synthetic())) as page:
        browser.get(page.url)
        wait(browser, "true")
        browser.execute_script("document.getElementById('map').focus()")
        active = browser.switch_to.active_element
        active.send_keys("\ue007")  # Enter
        wait(browser, "shown === 'similarity'")
        assert browser.execute_script("return state.reference") == [10, 15]
        add_class(browser, "one")
        add_class(browser, "two")
        browser.execute_script("document.getElementById('map').focus()")
        active.send_keys("1\ue007")
        wait(browser, "state.classes[0].count === 1")
        active.send_keys("u")
        wait(browser, "state.classes[0].count === 0")
        active.send_keys("v")
        wait(browser, "shown === 'components'")


@pytest.mark.slow
def test_page__repaints_a_large_map(write_map: Make, browser: Any) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(768, 1000, 1000)).astype(np.float32)
    path = write_map(data, dtype="int8")
    del data
    with deo.explore(path) as page:
        began = time.monotonic()
        browser.set_window_size(1500, 1180)
        browser.get(page.url)
        wait(browser, "shown === 'components'", seconds=300)
        opened = time.monotonic() - began
        browser.execute_script("map.map.setView([-500, 500], 0)")
        time.sleep(1)
        click(browser, 100, 100)
        places = [(int(row), int(col)) for row, col in rng.integers(150, 850, (12, 2))]
        for place in places[:6]:
            click(browser, *place)
        add_class(browser, "one")
        click(browser, *places[6])
        add_class(browser, "two")
        for place in places[7:]:
            click(browser, *place)
        painted = browser.execute_script(
            "return Object.values(map.overlay._tiles).filter((each) => each.current).length"
        )
        times = browser.execute_script("return window.deoRepaints")
    similar, classes = (statistics.median(part) for part in (times[1:7], times[9:]))
    print(
        f"\n1000 x 1000 cells, 768 features, {os.cpu_count()} cores, {painted} tiles: page opened "
        f"in {opened:.1f} s; from click to repainted view, medians: similarity {similar:.0f} ms, "
        f"classes {classes:.0f} ms; first click {times[0]:.0f} ms; all: {np.rint(times).tolist()}"
    )
    assert len(times) == 13
