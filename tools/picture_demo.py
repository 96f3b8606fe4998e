"""Writes docs/figures/demo.png: the top of the page that the demo makes, as Chromium shows it.

    python tools/picture_demo.py               runs the demo first
    python tools/picture_demo.py demo.html     takes a page that the demo has made

It needs the extra "demo", and chromium or google-chrome.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PICTURE = PROJECT / "docs" / "figures" / "demo.png"
LARGEST_BYTES = 200_000


def main() -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("chromium or google-chrome is needed to show the page")
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            page = Path(sys.argv[1]).resolve()
        else:
            command = [Path(sys.executable).with_name("fasthash"), "demo"]
            for query in ("happy face", "dog", "red fruit", "rain", "music"):
                command += ["--query", query]
            page = Path(folder) / "fasthash-demo.html"
            subprocess.run(command, cwd=folder, check=True)
        new = Path(folder) / "demo.png"
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=980,610"]
        # The page unpacks its codes before it answers.
        options.append("--virtual-time-budget=10000")
        subprocess.run([browser, *options, f"--screenshot={new}", page.as_uri()], check=True)
        if new.stat().st_size > LARGEST_BYTES:
            raise SystemExit(f"the picture has {new.stat().st_size} bytes, too many for the README")
        shutil.copy(new, PICTURE)


if __name__ == "__main__":
    main()
