"""What the look promises: it can be read in both themes, and needs nothing that the strict policy refuses."""

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSS = (ROOT / "static" / "goldpan.css").read_text()
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))

READ_ON = [  # text on ground
    *product(("ink", "quiet", "gold", "good", "bad"), ("paper", "sheet")),
    ("gold", "gold-wash"), ("good", "good-wash"), ("bad", "bad-wash"), ("quiet", "quiet-wash"),
    *product(("ink", "quiet"), ("gold-wash", "good-wash", "bad-wash")), ("ink", "quiet-wash"), ("paper", "ink"),
]
SEEN_ON = [  # lines of controls, dots, bars and focus rings on ground
    *product(("edge", "gold-fill", "quiet", "bad"), ("paper", "sheet")),
]


def tokens(theme):
    block = re.search(rf"\[data-bs-theme={theme}\] {{(.*?)}}", CSS, re.DOTALL).group(1)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def luminance(colour):
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    """The contrast ratio in [1, 21]. Source: WCAG 2.1, 1.4.3."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read_on_every_ground_it_stands_on(theme):
    colours = tokens(theme)
    weak = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in READ_ON}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_control_and_mark_can_be_seen(theme):
    colours = tokens(theme)
    weak = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in SEEN_ON}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 3} == {}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_no_template_has_inline_style_or_script(template):
    text = re.sub(r"{% comment %}.*?{% endcomment %}", "", template.read_text(), flags=re.DOTALL)
    executed = r"<script(?![^>]*\s(?:src=|type=.application/json))"  # a block of JSON does nothing by itself
    assert not re.search(rf"\sstyle=|<style|{executed}|\son[a-z]+=|\shx-on|javascript:", text)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)


def test_vendored_files_are_those_that_vendor_toml_names():
    check = [sys.executable, str(ROOT / "tools" / "vendor.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_vendored_package_is_named_with_its_licence():
    third_party = (ROOT / "THIRD_PARTY.md").read_text()
    folders = [folder for folder in (ROOT / "static" / "vendor").iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        assert folder.name in third_party
        assert list(folder.glob("LICENSE*"))
