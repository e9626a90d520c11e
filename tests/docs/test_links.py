# SPDX-License-Identifier: Apache-2.0
"""Every relative link and anchor of every Markdown page resolves, in the repository and on the site of `make docs`."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving_network.contracts.build.artifacts import ROOT

FOLDERS = ("benchmarks", "contracts", "docs", "examples", "networks", "proofs", "src", "tests")
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")))
    if "node_modules" not in page.parts
)
SITE = runpy.run_path(str(ROOT / ".ci" / "docs.py"))
links, anchors, write_pages = SITE["links"], SITE["anchors"], SITE["write_pages"]


def broken(page: Path) -> list[str]:
    """The links of a page that do not resolve."""
    found = []
    for path, anchor in links(page.read_text("utf-8")):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            found.append(f"{path}#{anchor}" if anchor else path)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_resolves(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_or_anchor_is_reported(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Two words, one `comma`\n## Twice\n## Twice\n"
        "[a](page.md) [b](#two-words-one-comma) [c](page.md#twice-1) [d](https://example.org/none) ![e](none.svg)\n"
        "[f](none.md) [g](#none) [h](page.md#twice-2)\n"
        "```\n# Not a heading\n[in code](none.md)\n```\n[i](#not-a-heading)\n"
    )
    assert broken(page) == ["none.svg", "none.md", "#none", "page.md#twice-2", "#not-a-heading"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_pages(folder)
    return folder


def test_every_link_between_the_sites_pages_resolves(site: Path) -> None:
    pages = [page for page in site.rglob("*.md") if page.parent.name != "reference"]
    assert len(pages) > len([page for page in PAGES if "docs" in page.parts])
    assert {str(page.relative_to(site)): found for page in pages if (found := broken(page))} == {}


def navigation(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from navigation(target)


def test_the_sites_navigation_has_every_page_once(site: Path) -> None:
    listed = list(navigation(tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]))
    example = "files/examples/pytest_project/index.md"
    pages = {page.relative_to(site).as_posix() for page in site.rglob("*.md")}
    assert sorted(listed) == sorted({page for page in pages if not page.startswith("files/")} | {example})


def test_the_api_reference_has_every_public_name_and_the_clients_page_leads_to_it(site: Path) -> None:
    for package in ("clients", "errors", "money", "networks", "signing", "wallet/local"):
        assert f"(reference/{package.partition('/')[0]}.md)" in (site / "clients.md").read_text("utf-8")
        module = importlib.import_module(f"serving_network.{package.replace('/', '.')}")
        for name in getattr(module, "__all__", vars(module)):
            found = getattr(module, name)
            if inspect.isclass(found) and found.__module__.startswith(module.__name__) and not name.startswith("_"):
                page = (site / "reference" / f"{package.partition('/')[0]}.md").read_text("utf-8")
                assert f"::: {module.__name__}\n" in page, name
                assert inspect.getdoc(found), f"{name} has no docstring, so the reference leaves it out"


def test_the_api_reference_names_modules_that_exist(site: Path) -> None:
    for page in (site / "reference").iterdir():
        modules = re.findall(r"^::: (\S+)", page.read_text("utf-8"), re.MULTILINE)
        assert modules, page.name
        for module in modules:
            path = ROOT / "src" / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), module
