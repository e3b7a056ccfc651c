"""What the explore page costs: its first view, and a frame of panning, in headless Chromium.

    benchmarks/page.py RUN        # a run of explore, such as one of 20,000 pictures

Chromium draws in software (SwiftShader). A frame is the page's own drawing of the whole map, timed
within the page; the best of several pans is told, for other processes only make it slower.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from vicinal.report import write_explorer

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PANS = 5
PAN = """async () => {
  const plot = document.getElementById("plot");
  const { left, top, width, height } = plot.getBoundingClientRect();
  const at = (type, x) => plot.dispatchEvent(new PointerEvent(type, {
    clientX: left + x, clientY: top + height / 2, pointerId: 1, buttons: 1, bubbles: true,
  }));
  const next = () => new Promise(requestAnimationFrame), costs = [], began = performance.now();
  at("pointerdown", 200);
  while (performance.now() - began < 1000) {
    at("pointermove", 200 + (costs.length % 60) * 3);
    await next();
    costs.push(plot.shown.cost);
  }
  at("pointerup", 200);
  return [1000 * costs.length / (performance.now() - began), Math.min(...costs)];
}"""
FIRST = "performance.getEntriesByName('first-view')[0].startTime"


def main(run: Path) -> None:
    """Prints the figures of a run's page."""
    page_file = write_explorer(run)
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        firsts, rates = [], []
        for _ in range(PANS):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(page_file.resolve().as_uri())
            page.wait_for_selector("body[data-ready]")
            firsts.append(page.evaluate(FIRST))
            rates.append(page.evaluate(PAN))
            page.close()
        browser.close()
    print(f"{page_file.stat().st_size / 1e6:.0f} MB; first view {min(firsts):.0f} ms")
    print(f"a frame: {min(cost for _, cost in rates):.1f} ms of drawing")
    print(f"panning: {max(rate for rate, _ in rates):.0f} frames a second")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
