"""The docs as a site: it builds without a warning, holds every page, and asks nobody else for anything."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from ruamel.yaml import YAML

CHECKOUT = Path(__file__).parent.parent
DOCS = CHECKOUT / "docs"
PAGES = sorted([CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *DOCS.rglob("*.md")])
RULES = CHECKOUT / "deploy" / "prometheus" / "rules.yml"

_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_TARGET = re.compile(r"\]\(([^)\s]+)\)")
_EXTERNAL = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[^\s()<>]*)?(#[\w-]+)?")


def script(name: str) -> ModuleType:
    """Return a script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """A page of the site: what its elements are called, and what a browser fetches to show it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.names.add(given.get("id", ""))
        if tag in {"script", "img", "iframe", "source"} and "src" in given:
            self.fetched.append(given["src"])
        if tag == "link" and given.get("rel") not in {"canonical", "next", "prev"}:
            self.fetched.append(given.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    quiet = "NO_MKDOCS_2_WARNING=1"  # no word of mkdocs' own plans, which is no warning of ours
    done = subprocess.run(
        ["env", quiet, sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=CHECKOUT, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    return folder


def html(site: Path) -> Iterator[tuple[str, Page]]:
    """Give each page of the site by its path."""
    for path in site.rglob("*.html"):
        yield path.relative_to(site).as_posix(), Page(path.read_text())


def in_nav(entry: object) -> Iterator[str]:
    """Give the pages that a part of the navigation names."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for inner in entry.values():
            yield from in_nav(inner)
    elif isinstance(entry, list):
        for inner in entry:
            yield from in_nav(inner)


def navigation() -> list[str]:
    """Return every page that mkdocs.yml names."""
    text = re.sub(r"!!python\S+ \{.*\}\}", "null", (CHECKOUT / "mkdocs.yml").read_text())
    return list(in_nav(YAML(typ="safe").load(text)["nav"]))


def test_every_page_is_in_the_navigation_once() -> None:
    """
    Nobody has to know an address to find a page.
    """
    assert sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")) == sorted(
        navigation()
    )


def test_a_browser_fetches_nothing_from_elsewhere(site: Path) -> None:
    """
    Scripts, styles, fonts and pictures are the site's own: it can be read without the internet.
    """
    elsewhere = [(path, one) for path, page in html(site) for one in page.fetched if "//" in one]
    styles = [
        path for path in site.rglob("*.css") if re.search(r"url\(.?https?:", path.read_text())
    ]

    assert ([], []) == (elsewhere, styles)
    assert any(page.fetched for _, page in html(site))


def test_each_alert_leads_to_its_section_of_the_site(site: Path) -> None:
    """
    The address in a rule, with the docs' address before it as deploying says, is an anchor there.
    """
    names = Page((site / "operations" / "index.html").read_text()).names
    groups = YAML(typ="safe").load(RULES.read_text())["groups"]
    addresses = [rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"]]

    assert len(addresses) > 20
    assert [] == [one for one in addresses if one.removeprefix("docs/operations.md#") not in names]


def test_search_knows_every_page(site: Path) -> None:
    """
    The index that the browser searches has each page of the navigation.
    """
    index = (site / "search" / "search_index.json").read_text()
    addresses = (name.removesuffix(".md").removesuffix("index") for name in navigation())

    assert [] == [name for name in addresses if name and f'"{name.rstrip("/")}/' not in index]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_pictures_and_addresses_are_sound(path: Path) -> None:
    """
    A picture is there and says in words what it shows; an address of the web looks like one.
    """
    text = _FENCE.sub("", path.read_text())
    pictures = _IMAGE.findall(text)
    web = [link for link in _TARGET.findall(text) if re.match(r"[a-z]+:", link)]

    assert [] == [name for _, name in pictures if not (path.parent / name).is_file()]
    assert all(len(words) > 20 for words, _ in pictures)
    assert [] == [link for link in web if not _EXTERNAL.fullmatch(link)]


def test_the_page_of_commands_is_up_to_date() -> None:
    """
    docs/cli.md is what docs/cli_page.py makes now.
    """
    made = script("cli_page").page()

    assert made == (DOCS / "cli.md").read_text(), "python docs/cli_page.py > docs/cli.md"


def test_the_drawings_are_those_of_their_script() -> None:
    """
    docs/drawings holds what docs/drawings.py draws now, and nothing else.
    """
    drawn = {name: draw() for name, draw in script("drawings").DRAWINGS.items()}
    there = {path.name: path.read_text() for path in (DOCS / "drawings").iterdir()}

    assert drawn == there, "python docs/drawings.py"
