"""Debian's Chromium without a screen, as the report's test and benchmark start it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> bool:
    """Are Chromium or its driver not installed."""
    return shutil.which("chromium") is None or shutil.which("chromedriver") is None


def start(profile: str | Path) -> Any:
    """A selenium driver with a profile of its own, which logs what pages say and ask for; to be closed by `quit()`.

    Args:
        profile: an empty folder.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
