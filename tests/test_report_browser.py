"""The report in a real browser, Debian's Chromium without a screen: its numbers, its manners, its files."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_page import HOSTILE, PRESETS, made, planned

from benchmarks import chromium
from qqtjax.io.mixes import load_mix
from qqtjax.text import show_count

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        chromium.missing(),
        reason="no chromium or chromedriver: on Debian, apt-get install chromium chromium-driver",
    ),
]
PHONE, DESK = (360, 780), (1280, 900)
LOCAL, OWN = ("file:", "data:", "blob:"), ("chrome:", "chrome-untrusted:")
PATIENCE = 20.0
# Everything that a person reads off the page while the slider moves.
STATE = """
const read = (name) => Object.fromEntries([...document.querySelectorAll(`[data-${name}]`)].map((element) =>
  [element.dataset[name], element.value && element.tagName === "DATA" ? Number(element.value) : element.textContent]));
return {
  ...read("field"), over: read("over"),
  spoken: document.getElementById("budget").getAttribute("aria-valuetext"),
  warnings: [...document.querySelectorAll("#warnings li")].map((element) => element.textContent),
  lines: ["curves", "mixes"].map((name) => document.getElementById(`plot-${name}`).layout?.shapes[0].x0),
  bar: document.querySelector("[data-bar=pool-0]").style.getPropertyValue("--share"),
};
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report, and what `qqt plan --json` says for every preset."""
    folder = tmp_path_factory.mktemp("report")
    _, document = made(folder, "--no-next")
    (folder / "report.json").write_text(json.dumps(document))
    for preset in PRESETS:
        (folder / f"{preset}.json").write_text(json.dumps(planned(folder, preset)))
    return folder


@pytest.fixture(scope="module")
def browser(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    """The page, opened anew; afterwards nothing may have gone wrong in it, and nothing have left it."""
    for log in ("browser", "performance"):
        browser.get_log(log)
    screen(browser, DESK)
    browser.get((folder / "report.html").as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [each["params"] for each in events if each["method"] == "Network.requestWillBeSent"]
    # The browser's own start page asks for its own parts.
    asked = [each["request"]["url"] for each in requests if not each["documentURL"].startswith(OWN)]
    assert asked
    assert [url for url in asked if not url.startswith(LOCAL)] == []


def screen(browser: Any, size: tuple[int, int]) -> None:
    width, height = size
    about = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", about)


def wait(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found


def draw_all(page: Any) -> None:
    """Scroll through the page, as figures are drawn when they are about to be seen."""
    for plot in page.find_elements("class name", "plot"):
        page.execute_script("arguments[0].scrollIntoView()", plot)
        wait(lambda plot=plot: plot.find_elements("class name", "main-svg"))
    page.execute_script("scrollTo(0, 0)")


def choose(page: Any, place: int) -> None:
    """Another preset, by keyboard."""
    from selenium.webdriver.common.keys import Keys

    chooser = page.find_element("id", "preset")
    chooser.send_keys(Keys.HOME, *[Keys.ARROW_DOWN] * place)
    assert chooser.get_property("value") == str(place)


def test_the_slider_shows_what_plan_says_at_every_budget_of_every_preset(page: Any, folder: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    report = json.loads((folder / "report.json").read_text())
    draw_all(page)
    legend = page.find_elements("css selector", "#plot-pools .legendtext")
    assert [each.get_property("textContent") for each in legend] == ["A", HOSTILE, "C"]
    slider = page.find_element("id", "budget")
    for number, name in enumerate(PRESETS):
        choose(page, number)
        plan = json.loads((folder / f"{name}.json").read_text())
        gathered = report["presets"][number]
        slider.send_keys(Keys.HOME)
        for place, row in enumerate(plan["rows"]):
            if place:
                slider.send_keys(Keys.ARROW_RIGHT)
            shown = page.execute_script(STATE)
            decided = plan["decision"]["budgets"][place]
            assert shown["budget"] == row["samples_seen"]
            assert shown["spoken"] == f"{show_count(row['samples_seen'], 4)} samples seen"
            assert shown["choice"] == row["best"]["name"]
            assert shown["error"] == row["best"]["error"]
            assert shown["probability"] == decided["probability"]
            assert shown["wrong"] == decided["regret_if_wrong"]
            assert shown["runner-up"] == decided["runner_up"]
            assert shown["runner-up-probability"] == decided["options"][decided["runner_up"]]["probability"]
            assert shown["mix-error"] == row["mix"]["error"]
            assert shown["rule-regret"] == row["regret"]
            assert shown["lines"] == [row["samples_seen"]] * 2
            assert shown["warnings"][: len(row["warnings"])] == row["warnings"]
            near = gathered["near_best"][place]
            for index, (pool, share) in enumerate(row["mix"]["weights"].items()):
                assert shown[f"pool-{index}-share"] == share
                assert shown[f"pool-{index}-samples"] == row["mix"]["samples"].get(pool, 0)
                assert shown[f"pool-{index}-epochs"] == row["mix"]["epochs"].get(pool, 0)
                assert shown[f"pool-{index}-size"] == plan["pools"][pool]
                assert shown[f"pool-{index}-low"] == near["low"][pool]
                assert shown[f"pool-{index}-high"] == near["high"][pool]
                assert near["low"][pool] - 1e-6 <= share <= near["high"][pool] + 1e-6
            assert float(shown["bar"]) == row["mix"]["weights"]["A"]
            for index, option in enumerate(row["options"]):
                assert shown[f"option-{index}-error"] == option["error"]
                assert shown[f"option-{index}-probability"] == decided["options"][option["name"]]["probability"]
            assert shown["over"][f"at-{place}-choice"] == row["best"]["name"]
            assert shown["over"][f"at-{place}-error"] == row["best"]["error"]
            assert shown["over"][f"at-{place}-mix-error"] == row["mix"]["error"]
            capped = gathered["mixes_within_max_epochs"][place]
            if capped is None:
                assert row["samples_seen"] > 1.5 * sum(plan["pools"].values())
                assert shown["capped"].startswith("none")
            else:
                assert shown["capped-error"] == capped["error"]
                assert max(capped["epochs"].values()) <= 1.5 + 1e-6
    said = wait(lambda: page.find_element("id", "said").get_property("textContent"))
    assert said.startswith(f"{show_count(plan['rows'][-1]['samples_seen'], 4)} samples, pools ten times everything")


def test_downloads_hold_what_is_shown(page: Any, folder: Path, tmp_path: Path) -> None:
    about = {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": False}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", about)
    choose(page, 1)
    plan = json.loads((folder / "half of the best pool.json").read_text())
    weights = plan["rows"][-1]["mix"]["weights"]
    for kind in ("json", "yaml", "csv"):
        page.find_element("css selector", f"a[data-file={kind}]").click()
    files = {each: wait(lambda each=each: list(tmp_path.glob(f"*.{each}"))) for each in ("json", "yaml", "csv")}
    mix = files["json"][0]
    assert mix.name == "mix-half-of-the-best-pool-80k.json"
    assert load_mix(mix) == weights
    assert f"{json.dumps(HOSTILE)}: {weights[HOSTILE]!r}" in files["yaml"][0].read_text()
    table = pd.read_csv(io.StringIO(files["csv"][0].read_text()))
    best = table[table["kind"] == "mix"].set_index("samples_seen")["error"]
    assert best.tolist() == pytest.approx([row["mix"]["error"] for row in plan["rows"]], rel=1e-9)


def test_it_fits_a_phone(page: Any) -> None:
    screen(page, PHONE)
    draw_all(page)
    assert page.execute_script("return document.documentElement.scrollWidth") == PHONE[0]
    for plot in page.find_elements("class name", "plot"):
        assert plot.find_element("class name", "main-svg").rect["width"] <= PHONE[0]
    for name in ("budget", "preset"):
        assert page.find_element("id", name).rect["height"] >= 24  # WCAG 2.2, 2.5.8: size of a target


def test_it_turns_dark_and_back_with_its_figures(page: Any) -> None:
    draw_all(page)
    look = """const { layout, data } = document.getElementById("plot-curves");
      return [getComputedStyle(document.body).backgroundColor, layout.font.color,
              data.find((trace) => trace.name === "best mix").line.color]"""
    found = []
    for scheme in ("light", "dark", "light"):
        about = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", about)
        time.sleep(0.3)
        found.append(page.execute_script(look))
    assert found[0] == found[2]
    assert found[0][0] == "rgb(255, 255, 255)"
    assert found[1][0] == "rgb(21, 24, 29)"
    assert all(by_day != by_night for by_day, by_night in zip(found[0], found[1], strict=True))


def test_it_prints_with_all_figures_though_none_was_looked_at(page: Any) -> None:
    printed = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    plots = page.find_elements("class name", "plot")
    assert len(plots) == 5
    assert all(plot.find_elements("class name", "main-svg") for plot in plots)


def test_the_keyboard_reaches_everything_and_is_seen(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    reached = []
    for _ in range(7):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.append(
            page.execute_script(
                """const now = document.activeElement, style = getComputedStyle(now);
                const name = now.id || now.className || now.dataset.file;
                return [name, style.outlineStyle, parseFloat(style.outlineWidth)];"""
            )
        )
    assert [name for name, _, _ in reached] == ["skip", "budget", "preset", "scroll", "json", "yaml", "csv"]
    assert all(style == "solid" and width >= 2 for _, style, width in reached)


def test_without_scripts_the_answer_is_still_there(page: Any, folder: Path) -> None:
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.get((folder / "report.html").as_uri())
    plan = json.loads((folder / "as measured.json").read_text())
    shown = page.find_element("css selector", "[data-field=error]").get_attribute("value")
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert float(shown) == plan["rows"][-1]["best"]["error"]
