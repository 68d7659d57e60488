"""How a page looks and feels: on any screen, in any colours, by keyboard, to assistive technology.

With PICTURES=folder, pictures of it are kept.
"""

import os
from typing import Literal

from playwright.sync_api import Page

WIDTHS = (320, 800, 1600)

_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

_FITS = "document.documentElement.scrollWidth <= window.innerWidth"
_AXE = "rules => axe.run({runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})"
_FOCUSABLE = """
    window.focusable = [...document.querySelectorAll("a[href], button, summary, input:not([type=hidden])")]
        .filter(element => element.checkVisibility() && !element.disabled);
    document.activeElement.blur();
    window.focusable.length
"""
_FOCUSED = """
    [window.focusable.indexOf(document.activeElement),
     getComputedStyle(document.activeElement).outlineStyle]
"""


class Looks:
    """Looks at pages in one language, with axe-core; the pictures' names begin with `name`."""

    def __init__(self, axe: str, name: str, language: str) -> None:
        self._axe = axe
        self._name = name
        self._language = language
        self._pictures = os.environ.get("PICTURES")

    def __call__(self, page: Page, name: str) -> None:
        """Look at the page, called `name`, from all sides; fails where anything is amiss."""
        assert page.locator("html").get_attribute("lang") == self._language, name
        self._tab_through(page, name)
        page.evaluate(self._axe)
        for scheme in _SCHEMES:
            page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate(_FITS), f"{name} scrolls sideways at {width}"
                self._take_picture(page, f"{name}-{scheme}-{width}")
            if self._pictures:
                page.locator("main").screenshot(path=self._path(f"{name}-{scheme}"))
            found = page.evaluate(_AXE, _RULES)["violations"]
            assert not found, (name, scheme, [(one["id"], one["nodes"]) for one in found])
        page.emulate_media(color_scheme="light", contrast="more")
        self._take_picture(page, f"{name}-contrast")
        page.emulate_media(color_scheme="dark", contrast="no-preference", forced_colors="active")
        self._take_picture(page, f"{name}-forced")
        page.emulate_media(color_scheme="light", forced_colors="none")

    def _tab_through(self, page: Page, name: str) -> None:
        """The tab key reaches all there is, and one sees where one is."""
        count = page.evaluate(_FOCUSABLE)
        reached = set()
        for _ in range(2 * count + 2):
            page.keyboard.press("Tab")
            index, outline = page.evaluate(_FOCUSED)
            reached.add(index)
            assert index < 0 or outline != "none", (name, index)
        assert reached >= set(range(count)), name

    def _take_picture(self, page: Page, name: str) -> None:
        if self._pictures:
            page.screenshot(path=self._path(name), full_page=True)

    def _path(self, name: str) -> str:
        return f"{self._pictures}/{self._name}-{self._language}-{name}.png"
