"""What the buffer did, in words."""

from pathlib import Path

from .pages import METRICS, RECIPE, Element, report, write_lines


def test_the_story_of_the_buffer_is_told_in_the_metrics_numbers(page: Element) -> None:
    story = page.one("section", id="buffer").one("p", class_="prose").text.replace("\N{NO-BREAK SPACE}", " ")
    assert "75.0 % of the fresh prompt groups were effective in the first tenth" in story
    assert "25.0 % in the last (there, 62.5 % were answered right throughout and 12.5 % wrong" in story
    assert "75.0 % of its samples in the first tenth, 100.0 % in the last and 93.8 % on average" in story
    assert "43.8 % of the batch on average and 75.0 % in the last tenth" in story
    assert "2 policy versions old on average, and never more than 3." in story  # the step without replays has no age
    assert "effective sample size of 96.0 % (94.0 % at the least)" in story
    assert "held 64 samples at the end" in story


def test_replayed_samples_show_origin_and_age(page: Element) -> None:
    card = page.one("section", id="buffer").one("article")
    assert card.one(class_="replay").text == "replay at step 2, age 2"
    assert card.all("td")[-1].text == "+0.58"


def test_a_buffer_that_is_off_is_said_to_be_off(run: Path) -> None:
    off = [
        line | {"buffer/size": 0.0, "buffer/replay_share": 0.0} if "buffer/size" in line else line for line in METRICS
    ]
    write_lines(run / "metrics.jsonl", off)
    story = report(run).one("section", id="buffer").one("p", class_="prose").text
    assert "The buffer was off" in story
    assert "eplayed samples" not in story


def story_of(run: Path, keys: str, **figures: float) -> str:
    """The paragraph of the same run with other keys in its buffer section, and other figures in every line."""
    (run / "recipe.toml").write_text(RECIPE.replace("[stage.reward]", f"[stage.buffer]\n{keys}\n[stage.reward]"))
    lines = [
        line | {name.replace("__", "/"): value for name, value in figures.items()} if "buffer/size" in line else line
        for line in METRICS
    ]
    write_lines(run / "metrics.jsonl", lines)
    return report(run).one("section", id="buffer").one("p", class_="prose").text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_story_says_what_effective_was_judged_on(run: Path) -> None:
    assert "judged on the rules (accuracy and format, weighted)." in story_of(run, "")
    assert "judged on accuracy alone." in story_of(run, 'effective_on = "accuracy"')


def test_the_story_of_dynamic_sampling_tells_what_it_cost(run: Path) -> None:
    """Four steps of 3 batches and 24 groups, 8 of them used."""
    figures = {"buffer__size": 0.0, "rollout__batches": 3.0, "rollout__groups": 24.0, "rollout__groups_used": 8.0}
    story = story_of(run, 'strategy = "dynamic"', **figures)
    assert "asked for 3 batches of prompts a step on average and 3 at most" in story
    assert "used 33.3 % of the 96 groups" in story
    assert "eplayed" not in story


def test_the_story_of_dropped_groups_and_of_plain_grpo(run: Path) -> None:
    dropped = story_of(run, 'strategy = "drop"', buffer__size=0.0)
    assert "The other groups were dropped: the updated batch had 75.0 % of its samples in the first tenth" in dropped
    assert "The buffer was off" in story_of(run, 'strategy = "none"', buffer__size=0.0)


def test_the_story_of_selective_sample_replay_has_its_name(run: Path) -> None:
    assert "After Selective Sample Replay the updated batch had" in story_of(run, 'strategy = "ssr"')


def test_distance_from_the_policy_is_told_in_the_terms_of_the_correction(run: Path) -> None:
    figures = {"loss__ratio_mean_replay": 1.25, "buffer__uses_1": 0.8, "buffer__weight_truncated": 0.05}
    story = story_of(run, "", **figures)
    assert "(5.0 % of their tokens at the limit), and left an effective sample size" in story
    assert "80.0 % of them were replayed for the first time" in story


def test_a_correction_without_weights_speaks_of_ratios(run: Path) -> None:
    story = story_of(run, 'correction = "clip"', loss__ratio_mean_replay=1.25)
    assert "clipped around the policy that sampled them; the mean ratio was 1.25" in story
    assert "off-policy weights" not in story
    shaped = story_of(run, 'correction = "shaped"', loss__ratio_mean_replay=1.25)
    assert "mean ratio to the policy that sampled them was 1.25, before shaping" in shaped
