"""The page as a whole: nothing fetched, everything there, the same every time."""

from pathlib import Path

from .pages import RECIPE, Element, report


def test_nothing_is_fetched(page: Element) -> None:
    style = page.one("style").text
    assert "url(" not in style
    assert "@import" not in style
    assert not [one.name for one in page.all() if one.name in ("script", "link", "iframe", "object", "base", "form")]
    for element in page.all():
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            assert "//" not in (value or "") or (value or "").startswith("data:image/")
            if name in ("src", "srcset", "href", "xlink:href", "action", "data"):
                assert (value or "").startswith(("data:image/", "#"))


def test_a_browser_is_told_to_fetch_nothing(page: Element) -> None:
    (policy,) = [meta for meta in page.all("meta") if "http-equiv" in meta.attributes]
    assert "default-src 'none'" in (policy.attributes["content"] or "")
    assert "script" not in (policy.attributes["content"] or "")


def test_the_contents_lead_to_sections_that_exist(page: Element) -> None:
    targets = {(link.attributes["href"] or "")[1:] for link in page.one("nav").all("a")}
    assert targets == {one.attributes["id"] for one in page.all("section")}
    assert {"stages", "curves", "buffer", "reward", "agreement", "rollouts", "recipe"} == targets


def test_nothing_else_is_left_in_the_directory_and_the_old_page_is_replaced(run: Path) -> None:
    before = sorted(path.name for path in run.iterdir())
    (run / "report.html").write_text("old")
    report(run)
    assert sorted([*before, "report.html"]) == sorted(path.name for path in run.iterdir())
    assert "old" != (run / "report.html").read_text()


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    report(run)
    first = (run / "report.html").read_bytes()
    report(run)
    assert first == (run / "report.html").read_bytes()


def test_the_head_says_which_run_it_is(page: Element) -> None:
    text = page.one("header").text
    for part in ("tiny", "seed 7", "0123456789ab+changes", "torch 2.13.0", "1 h 2 min", "complete"):
        assert part in text
    assert "not complete" not in text


def test_the_recipe_is_there_word_by_word_and_folded(page: Element) -> None:
    folded = page.one("section", id="recipe").one("details")
    assert "open" not in folded.attributes
    assert folded.one("pre").text == RECIPE
