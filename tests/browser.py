"""A headless Chromium, driven by selenium, that notes what pages complain about."""

import contextlib
import shutil

import pytest


@contextlib.contextmanager
def chromium(width, height=900, scheme="light"):
    """
    Start a browser whose window shows `width` times `height` pixels; skip where there is none.

    The pages may have logged nothing when it ends: errors of scripts, refused loads, anything.
    """
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
    service = webdriver.ChromeService(driver)
    page = webdriver.Chrome(options=options, service=service)
    try:
        page.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        yield page
        assert page.get_log("browser") == []
    finally:
        page.quit()


def overflows(page):
    """Whether the page is wider than the window."""
    return page.execute_script(
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
