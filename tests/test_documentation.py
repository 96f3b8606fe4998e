"""The pages keep their word: links lead somewhere, and every public name is in the reference."""

import importlib
import importlib.util
import pathlib
import re
import tomllib

import pytest

import fasthash as fh

PROJECT = pathlib.Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "fasthash/datasets/*.md")
    for page in PROJECT.glob(pattern)
)
if not (PROJECT / "mkdocs.yml").exists():
    pytest.skip("a source distribution has not all of the pages", allow_module_level=True)


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(page):
    """The names by which a heading can be linked to, as mkdocs and GitHub make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.*)", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
        found.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_relative_link_leads_somewhere(page):
    text = without_code(page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        target, _, anchor = "".join(link).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.is_file(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(there), f"{target} has no heading for #{anchor}"


def documented():
    """The public objects that a page of the reference shows."""
    names = [
        name
        for page in (PROJECT / "docs" / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(names) == len(set(names)), "a name is in the reference twice"
    found = {}
    for name in names:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            found[name] = getattr(fh, name.removeprefix("fasthash."))
        else:
            found[name] = module
            found |= {f"{name}.{each}": getattr(module, each) for each in module.__all__}
    return found


def test_every_public_name_is_in_the_reference():
    shown = documented().values()
    for name in set(fh.__all__) - {"__version__"}:
        assert any(getattr(fh, name) is thing for thing in shown), name


def test_every_page_is_in_the_navigation():
    navigation = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PROJECT.glob("docs/**/*.md"):
        assert f"{page.relative_to(PROJECT).as_posix()}\n" in navigation, page


def test_every_file_of_the_site_exists():
    settings = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    site = (PROJECT / "tools" / "docs_site.py").read_text(encoding="utf-8")
    outside = re.search(r"OUTSIDE = \[(.*?)\]", site, re.DOTALL)[1]
    named = re.findall(r"(?:favicon|logo): (\S+)", settings) + re.findall(r'"(.*?)"', outside)
    assert len(named) > 10
    assert [name for name in named if not (PROJECT / name).is_file()] == []


def test_the_table_of_extras_says_what_they_install():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = settings["project"]["optional-dependencies"]
    for_contributors = {"test", "bench"}
    page = (PROJECT / "docs" / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    assert {name: installed.split(", ") for name, installed in rows} == {
        name: [re.match(r"[\w-]+", package)[0] for package in packages]
        for name, packages in extras.items()
        if name not in for_contributors
    }


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, PROJECT / "tools" / f"{name}.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_page_of_commands_has_every_option():
    tool = load_tool("write_command_line")
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), (
        "docs/command-line.md is out of date: run python tools/write_command_line.py"
    )


def test_the_chart_of_speed_shows_the_figures_of_the_results():
    tool = load_tool("draw_speed")
    results = (PROJECT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    # Every row of the section is read; its first two rows are the heading.
    section = results.split("\n## Other peers\n")[1].split("\n## ")[0]
    assert len(tool.read_peers(results)) == section.count("\n| ") - 2
    assert tool.FIGURE.read_text(encoding="utf-8") == tool.draw(results), (
        "docs/figures/speed.svg is not what RESULTS.md says: run python tools/draw_speed.py"
    )


def test_the_chart_of_recall_shows_the_figures_of_the_results():
    tool = load_tool("draw_recall")
    results = tool.RESULTS.read_text(encoding="utf-8")
    curves = tool.read_curves(results)
    for name, bits in tool.PANELS:
        assert len(curves[name, bits, "fasthash"]) > 1
    assert tool.FIGURE.read_text(encoding="utf-8") == tool.draw(results), (
        "docs/figures/recall-time.svg is not what the results say: run python tools/draw_recall.py"
    )
