"""A headless Chromium, driven by selenium, that notes what pages complain about."""

import atexit
import contextlib
import functools
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest


@functools.cache
def started():
    """The browser, which all tests of a process share: to start one takes seconds."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium or chromedriver (Debian: chromium-driver) is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    atexit.register(page.quit)
    return page


@contextlib.contextmanager
def chromium(width, height=900, scheme="light"):
    """
    A browser whose window shows `width` times `height` pixels; skip where there is none.

    The pages may have logged nothing when it ends: errors of scripts, refused loads, anything.
    """
    page = started()
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    try:
        yield page
        assert page.get_log("browser") == []
    finally:
        page.get("about:blank")
        page.get_log("browser")


def overflows(page):
    """Whether the page is wider than the window."""
    return page.execute_script(
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )


def accessibility_faults(page):
    """What axe finds wrong with a page for people who use a keyboard or a screen reader."""
    found = find_spec("axe_playwright_python")
    if found is None:
        pytest.skip("axe-playwright-python, which brings axe, is not installed")
    page.execute_script(Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    ask = "axe.run().then(arguments[arguments.length - 1])"
    return [
        (fault["id"], [node["html"] for node in fault["nodes"]])
        for fault in page.execute_async_script(ask)["violations"]
    ]
