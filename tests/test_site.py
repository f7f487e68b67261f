"""The built site: complete in itself, no dead links, readable on a phone, in a real browser."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

from aigc_lab.exercises import catalog
from tools import exercises, vendor

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = {"desktop": (1400, 900), "phone": (375, 740)}
STRAIGHT = str.maketrans("“”‘’", "\"\"''")
HASH = re.compile(r"[0-9a-f]{16,}")
# Attributes that make a browser load something by itself; the href of <a> does not.
LOADING = [
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("embed", "src"),
    ("object", "data"),
    ("link", "href"),
]


def toc_pages() -> list[str]:
    """The documents in _toc.yml, as paths below the site."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [toc["root"]]
    for part in toc["parts"]:
        files += [entry["file"] for entry in part["chapters"]]
    return [f"{name.removesuffix('.md').removesuffix('.ipynb')}.html" for name in files]


PAGES = toc_pages()
ALL_PAGES = [*PAGES, "search.html"]


@functools.cache
def soup(path: Path) -> BeautifulSoup:
    """The parsed page."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def is_elsewhere(address: str) -> bool:
    """Whether an address names a host."""
    return bool(urlsplit(address).netloc)


# ----------------------------------------------------------------------------------- vendored files


def test_vendored_files_are_those_of_the_manifest(root: Path) -> None:
    expected = json.loads((vendor.TARGET / "MANIFEST.json").read_text(encoding="utf-8"))
    assert vendor.manifest(vendor.TARGET) == expected
    assert "LICENSE" in expected


# ------------------------------------------------------------------------------------ static checks


@pytest.mark.parametrize("page", ALL_PAGES)
def test_page_loads_nothing_from_elsewhere(site: Path, page: str) -> None:
    document = soup(site / page)
    found = [
        f"<{tag} {attribute}={element[attribute]!r}>"
        for tag, attribute in LOADING
        for element in document.find_all(tag)
        if element.get(attribute)
        and is_elsewhere(element[attribute])
        # These relations are links, not loads.
        and not {"canonical", "license", "alternate"} & set(element.get("rel") or [])
    ]
    inline = "\n".join(tag.get_text() for tag in document.find_all("style"))
    inline += "\n".join(tag["style"] for tag in document.find_all(style=True))
    found += re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)|@import[^;]*//[^;]*", inline)
    assert not found


def test_stylesheets_load_nothing_from_elsewhere(site: Path) -> None:
    pattern = re.compile(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)|@import\s[^;]*//[^;]*;")
    found = {
        str(path.relative_to(site)): hits
        for path in site.rglob("*.css")
        if (hits := pattern.findall(path.read_text(encoding="utf-8")))
    }
    assert not found


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    """The ids and names that a link to this page can end in."""
    document = soup(path)
    return frozenset(
        [tag["id"] for tag in document.find_all(id=True)]
        + [tag["name"] for tag in document.find_all("a", attrs={"name": True})]
    )


@pytest.mark.parametrize("page", ALL_PAGES)
def test_internal_links_lead_somewhere(site: Path, page: str) -> None:
    path = site / page
    broken = []
    for tag, attribute in [*LOADING, ("a", "href")]:
        for element in soup(path).find_all(tag):
            address = element.get(attribute)
            if not address or is_elsewhere(address) or urlsplit(address).scheme:
                continue
            target, fragment = urldefrag(address)
            file = path.parent / unquote(urlsplit(target).path) if target else path
            file = file.resolve()
            if file.is_dir():
                file /= "index.html"
            if not file.is_file():
                broken.append(f"{address}: no such file")
            elif fragment and file.suffix == ".html" and unquote(fragment) not in anchors(file):
                broken.append(f"{address}: no such anchor")
    assert not broken


@pytest.mark.parametrize("page", ALL_PAGES)
def test_images_have_alternative_text(site: Path, page: str) -> None:
    without = [
        str(image.get("src"))[:80]
        for image in soup(site / page).find_all("img")
        if not (image.get("alt") or "").strip()
        or HASH.search(image["alt"])
        or image["alt"] == image.get("src")
    ]
    assert not without


@pytest.mark.parametrize("page", PAGES)
def test_page_has_one_heading_and_a_language(site: Path, page: str) -> None:
    document = soup(site / page)
    # The theme prints the title a second time for paper only.
    headings = [h for h in document.find_all("h1") if not h.find_parent(id="jb-print-docs-body")]
    assert len(headings) == 1, [h.get_text() for h in headings]
    assert document.html.get("lang")


def test_pages_hold_no_path_of_the_machine_that_built_them(site: Path) -> None:
    here = str(ROOT)
    found = [
        str(path.relative_to(site))
        for path in site.rglob("*")
        if path.suffix in {".html", ".js", ".css", ".json"}
        and here in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert not found


# ------------------------------------------------------------------------------------- in a browser


@pytest.fixture
def visit(browser, site_url: str, request: pytest.FixtureRequest):
    """A function that opens a page at a width and notes what went wrong on the way."""
    opened = []

    def open_page(page: str, size: tuple[int, int], **options):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        opened.append(context)
        tab = context.new_page()
        tab.problems = []
        tab.on("pageerror", lambda error: tab.problems.append(f"script error: {error}"))
        tab.on(
            "console",
            lambda message: (
                tab.problems.append(f"console: {message.text}") if message.type == "error" else None
            ),
        )
        tab.on("requestfailed", lambda r: tab.problems.append(f"request failed: {r.url}"))
        tab.on(
            "response",
            lambda r: tab.problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None,
        )

        def guard(route) -> None:
            address = route.request.url
            if address.startswith((f"{site_url}/", "data:", "blob:")):
                route.continue_()
            else:
                tab.problems.append(f"left the site: {address}")
                route.abort()

        context.route("**/*", guard)
        tab.goto(f"{site_url}/{page}", wait_until="load")
        if tab.locator(".math").count():
            # MathJax writes its result after the page has loaded.
            tab.wait_for_function("window.MathJax && MathJax.startup && MathJax.startup.promise")
            tab.evaluate("MathJax.startup.promise")
        tab.wait_for_load_state("networkidle")
        return tab

    yield open_page
    for context in opened:
        context.close()


WIDE = """
() => {
  const width = document.documentElement.clientWidth;
  const inside = (element) => {
    for (let up = element.parentElement; up; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.overflowX !== 'visible' && up !== document.body && up !== document.documentElement)
        return true;
    }
    return false;
  };
  const wide = [];
  for (const element of document.querySelectorAll('.bd-article *, main h1, header *')) {
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (box.width && box.right > width + 1 && style.position !== 'fixed' && !inside(element))
      wide.push(`${element.tagName}.${element.className} ends at ${Math.round(box.right)}`);
  }
  return wide.slice(0, 5);
}
"""


BAD_PICTURES = """
() => {
  const bad = [];
  for (const image of document.querySelectorAll('.bd-article img')) {
    const name = image.getAttribute('src');
    if (image.complete && !image.naturalWidth) bad.push(`${name} is no picture`);
    const style = getComputedStyle(image);
    const size = (a, b, c) => a - parseFloat(style[b]) - parseFloat(style[c]);
    const width = size(image.clientWidth, 'paddingLeft', 'paddingRight');
    const height = size(image.clientHeight, 'paddingTop', 'paddingBottom');
    const natural = image.naturalWidth / image.naturalHeight;
    if (height > 20 && Math.abs(width / height / natural - 1) > 0.05)
      bad.push(`${name} is stretched to ${width} x ${height}`);
  }
  return bad;
}
"""


@pytest.mark.parametrize("size", WIDTHS.values(), ids=WIDTHS.keys())
@pytest.mark.parametrize("page", PAGES)
def test_page_in_a_browser(site: Path, visit, page: str, size: tuple[int, int]) -> None:
    tab = visit(page, size)
    assert not tab.problems
    page_width = tab.evaluate("document.documentElement.scrollWidth")
    assert page_width <= size[0], f"the page is {page_width} px wide: {tab.evaluate(WIDE)}"
    # Where the body hides its overflow, text could be cut off without the page growing.
    assert tab.evaluate(WIDE) == []
    if soup(site / page).select(".math"):
        assert tab.locator("mjx-container").count() > 0
        # A formula that is wrong as a whole; a macro that does not exist, which stays as red text.
        assert tab.locator("mjx-merror, mjx-mtext[style*='color: red']").all_inner_texts() == []
    assert tab.evaluate(BAD_PICTURES) == []


def test_search_finds_a_word_without_a_network(site: Path, visit) -> None:
    title = soup(site / PAGES[0]).find("h1").get_text()
    word = max(re.findall(r"[A-Za-z]+", title), key=len)
    tab = visit(f"search.html?q={word}", WIDTHS["desktop"])
    tab.wait_for_selector("#search-results li a", timeout=20_000)
    assert tab.locator("#search-results li a").count() > 0
    assert not tab.problems


def test_dark_mode_is_dark(visit) -> None:
    shade = {}
    for mode in ("light", "dark"):
        tab = visit(PAGES[0], WIDTHS["desktop"])
        tab.evaluate(
            f"localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}')"
        )
        tab.reload()
        colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        shade[mode] = sum(int(part) for part in re.findall(r"\d+", colour)[:3])
        assert not tab.problems
    assert shade["dark"] < 200 < 600 < shade["light"]


# ---------------------------------------------------------------------------------------- exercises


@pytest.mark.parametrize("chosen", exercises.sets(ROOT), ids=lambda chosen: chosen.name)
def test_exercises_are_numbered_folded_and_can_be_downloaded(site: Path, chosen) -> None:
    page = soup(site / "notebooks" / f"{chosen.name}.html")
    items = catalog.exercises_of(chosen.chapter)
    heads = [box.select_one(".admonition-title") for box in page.select("div.exercise")]
    titles = [" ".join(head.get_text().split()).translate(STRAIGHT) for head in heads]
    assert titles == [
        f"Exercise {chosen.number}.{number} ({item.title})"
        for number, item in enumerate(items, start=1)
    ]
    solutions = page.select("div.solution")
    assert len(solutions) == len(items)
    for box, item in zip(solutions, items, strict=True):
        assert "dropdown" in box["class"]
        assert f"#{exercises.label(item)}" in [link["href"] for link in box.select("a")]
    hints = page.select("div.exercise details")
    assert len(hints) == sum(len(item.hints) for item in items if hasattr(item, "hints"))
    assert not any(hint.has_attr("open") for hint in hints)
    (link,) = page.select("a.download[href$='.ipynb']")
    downloaded = site / "notebooks" / unquote(link["href"])
    assert downloaded.resolve().read_bytes() == chosen.notebook_path.read_bytes()


def test_a_reference_to_an_exercise_leads_to_it(site: Path) -> None:
    page = soup(site / "notebooks" / "03_positional_encoding.html")
    label = "positional-encoding-none-lives-on"
    links = [link for link in page.select(f"a[href='#{label}']") if not link.find_parent(id=label)]
    assert any(not link.find_parent("div", class_="solution") for link in links)
    assert "exercise" in page.find(id=label)["class"]
