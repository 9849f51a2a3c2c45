"""The documentation agrees with the code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_plugin_page_lists_every_touched_name():
    pytest.importorskip("ivadomed")
    from ivadomed_labelfusion.hosts.ivadomed2.patches import PATCHES

    text = (ROOT / "docs" / "plugin.md").read_text()
    rows = [f"| `ivadomed.{patch.module}.{patch.name}` | {patch.reason} |" for patch in PATCHES]
    assert [row for row in rows if row not in text] == []
    assert text.count("| `ivadomed.") == len(rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert missing == []


def test_the_fusion_page_has_a_row_with_the_options_of_every_method():
    from ivadomed_labelfusion.fusion import METHODS

    text = (ROOT / "docs" / "fusion.md").read_text().split("\n## The methods\n")[1]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `") and line.count("|") == 6]
    for name, method in METHODS.items():
        own = [row for row in rows if f"`{name}`" in row[0]]
        assert own, f"{name} has no row"
        told = ", ".join(row[3].strip() for row in own)
        assert set(re.findall("`(.+?)`", told)) == set(method.options), name
        for option in method.options.values():
            assert option.default is None or f"`{option.name}` {option.default}" in told
