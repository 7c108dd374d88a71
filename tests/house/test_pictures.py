"""The pictures in README: one of each page of the app. They fetch nothing, and name no machine."""

import re

import pytest

from telemetry.drawing.pages import PAGES
from tests.support.checkout import ROOT
from tests.support.pictures import PICTURES

NAMESPACE = "http://www.w3.org/2000/svg"
MOST_BYTES = 60_000
FETCHING = ("@import", "@font-face", "url(data:", "<image", "<script", "xlink:href", " href=")
MACHINE = re.compile(r"/(?:home|root|tmp|Users|work|var|usr|mnt)\b")


def test_each_page_has_a_picture_which_the_readme_shows() -> None:
    shown = re.findall(r"!\[[^\]]+\]\((docs/screens/[\w-]+\.svg)\)", (ROOT / "README.md").read_text())

    assert sorted(shown) == sorted(f"docs/screens/{page}.svg" for page in PAGES)
    assert sorted(path.name for path in PICTURES.iterdir()) == sorted(f"{page}.svg" for page in PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_a_picture_is_small_self_contained_and_names_no_machine(page: str) -> None:
    picture = (PICTURES / f"{page}.svg").read_text(encoding="utf-8")

    assert len(picture.encode()) <= MOST_BYTES
    assert set(re.findall(r"https?://[^\s\"'<>)]*", picture)) == {NAMESPACE}
    assert [word for word in FETCHING if word in picture] == []
    assert MACHINE.findall(picture) == []
    assert "robots 5eed01" in picture.replace("&#160;", " ")
