# SPDX-License-Identifier: Apache-2.0
"""Build the documentation site in site/: `make docs`.

The site shows the repository's own pages. This script copies them to .docs/pages, points their links at the copies,
adds a page for every source file or folder that a page links to, and a reference page for every public package, to
which links to the package lead. Then it runs zensical, which fails on a link or anchor that does not resolve.
"""

from __future__ import annotations

import ast
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / ".docs" / "pages"
SOURCE = "src/serving_network/"
# Where the site shows the pages that are not in docs/. All other files are shown under files/.
PLACES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security/report.md",
}
# The packages and modules of the API reference, with the title of their page.
REFERENCE = {
    "clients": "Clients",
    "wallet": "Keys and signers",
    "signing": "Signer protocol",
    "networks": "Networks",
    "messages": "Signed messages",
    "contracts": "Contracts",
    "chain": "Chain",
    "localchain": "Local chain",
    "settlement": "Settlement",
    "usage_logs": "Usage logs",
    "store": "Store",
    "deployment": "Deployment",
    "testing": "Testing",
    "pytest_plugin": "pytest plugin",
    "errors": "Errors",
    "money": "Money",
}
LINK = re.compile(r"(\]\()(?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?(\))")
FENCE = re.compile(r"^ *(`{3,}|~{3,})")
SKIPPED = {"__pycache__", "node_modules"}
# Parts of packages that only this repository uses.
HIDDEN = {"build", "__main__"}


def prose(text: str) -> Iterator[tuple[bool, str]]:
    """The lines of a page, each with whether it is outside fenced code."""
    fence = ""
    for line in text.splitlines(keepends=True):
        found = FENCE.match(line)
        if fence:
            inside = True
            if found and found[1].startswith(fence):
                fence = ""
        else:
            inside = found is not None
            fence = found[1] if found else ""
        yield not inside, line


def links(text: str) -> list[tuple[str, str]]:
    """The relative links of a page, as path and anchor; each may be empty."""
    found = [match for outside, line in prose(text) if outside for match in LINK.finditer(line)]
    return [(match[2], (match[3] or "").removeprefix("#")) for match in found]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site name them."""
    named: set[str] = set()
    for outside, line in prose(text):
        heading = re.match(r"#{1,6} +(.*?)[ #]*$", line) if outside else None
        if heading:
            plain = re.sub(r"\]\([^)]*\)|<[^>]*>", "", heading[1])
            slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            numbered = (slug, *(f"{slug}-{number}" for number in range(1, 100)))
            named.add(next(one for one in numbered if one not in named))
    return named


def place(path: str) -> str:
    """Where the site shows a file or folder of the repository; both paths are relative, with "/"."""
    if path in PLACES:
        return PLACES[path]
    if path.startswith(SOURCE) and (name := path.removeprefix(SOURCE).removesuffix(".py")) in REFERENCE:
        return f"reference/{name}.md"
    if path.startswith("docs/"):
        shown = path.removeprefix("docs/")
        return re.sub(r"(^|/)README\.md$", r"\1index.md", shown) if shown.endswith(".md") else shown
    if (ROOT / path).is_dir():
        return f"files/{path}/index.md"
    if path.endswith("/README.md"):
        return f"files/{posixpath.dirname(path)}/index.md"
    return f"files/{path}" if path.endswith(".md") else f"files/{path}.md"


def show(path: str) -> str:
    """The page of a file or folder of the repository: Markdown as it is, source text as code, a folder as a list."""
    target = ROOT / path
    if target.is_dir():
        readme = target / "README.md"
        if readme.exists():
            return readme.read_text("utf-8")
        names = sorted(one.name for one in target.iterdir() if one.name not in SKIPPED)
        return f"# {path}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)
    if path.endswith(".md"):
        return target.read_text("utf-8")
    language = {"py": "python", "vy": "vyper", "toml": "toml", "json": "json", "sql": "sql"}
    kind = language.get(path.rpartition(".")[2], "text")
    return f"# {path}\n\n`````{kind}\n{target.read_text('utf-8')}`````\n"


def resolve(page: str, link: str) -> str:
    """The path in the repository that a link of a page names. A folder's page may stand in for its README.md."""
    folder = page if (ROOT / page).is_dir() else posixpath.dirname(page)
    return posixpath.normpath(posixpath.join(folder, link)) if link else page


def rewrite(page: str, text: str, linked: Callable[[str], None]) -> str:
    """The text with its links pointing at the site's pages; `linked` receives each path that it links to."""

    def pointed(match: re.Match[str]) -> str:
        if not match[2]:
            return match[0]
        path = resolve(page, match[2])
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{page} links to {match[2]}: there is no {path}.")
        linked(path)
        relative = posixpath.relpath(place(path), posixpath.dirname(place(page)) or ".")
        return f"{match[1]}{relative}{match[3] or ''}{match[4]}"

    return "".join(LINK.sub(pointed, line) if outside else line for outside, line in prose(text))


def reference(name: str, title: str) -> str:
    """The page of a package or module of serving_network: what its docstrings say.

    What a package exports is shown under the package, and not again under the module that defines it.
    """
    source = ROOT / "src" / "serving_network"
    modules = [source / f"{name}.py"] if (source / f"{name}.py").exists() else sorted((source / name).rglob("*.py"))
    exported = {name for module in modules for name in exports(module)}
    text = f"# {title}\n"
    for module in modules:
        parts = module.relative_to(source.parent).with_suffix("").parts
        if HIDDEN & set(parts) or ast.get_docstring(ast.parse(module.read_text("utf-8"))) is None:
            continue
        text += f"\n::: {'.'.join(parts).removesuffix('.__init__')}\n"
        if exported and parts[-1] != "__init__":
            text += f"    options:\n      filters: ['!^_', '!^({'|'.join(sorted(exported))})$']\n"
    return text


def exports(module: Path) -> list[str]:
    """The names in a module's __all__."""
    for node in ast.parse(module.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["__all__"]:
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


def write_pages(folder: Path) -> list[str]:
    """Write the site's pages to a folder. Returns the paths in the repository that they show.

    Raises FileNotFoundError for a link to a file that does not exist.
    """
    waiting = [*PLACES, *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
    shown: dict[str, str] = {}
    while waiting:
        path = waiting.pop()
        if place(path) in shown:
            continue
        shown[place(path)] = path
        copy = folder / place(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.startswith("docs/") and not path.endswith(".md"):
            shutil.copy(ROOT / path, copy)
        else:
            copy.write_text(rewrite(path, show(path), waiting.append), "utf-8")
    for name, title in REFERENCE.items():
        page = folder / "reference" / f"{name}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(reference(name, title), "utf-8")
    return sorted(shown.values())


def main() -> int:
    shutil.rmtree(PAGES, ignore_errors=True)
    try:
        write_pages(PAGES)
    except FileNotFoundError as error:
        sys.exit(str(error))
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    result = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
    if result == 0:
        sys.stdout.write("Built the site: open site/index.html\n")
    return result


if __name__ == "__main__":
    sys.exit(main())
