"""The benchmark's arithmetic, without TRL and without measuring anything."""

import json
import math

import pytest
import torch

from benchmarks.compare import with_config
from benchmarks.configs import CONFIGS, PHASES, is_dead, reward
from benchmarks.equality import counts, failed, relative, verdict, with_cases
from benchmarks.figures import (
    by_worst,
    config_figures,
    foreign_load,
    merged,
    pair_figures,
    per_round,
    ranged,
    spread,
    table,
)
from benchmarks.ours_rounds import RoundClock
from benchmarks.page import AIMS, BY_HAND, by_hand, publish, ratio_table, rendered
from benchmarks.processes import busy_seconds
from benchmarks.scaling import SIZES, lengthened, scaling_table, slopes
from benchmarks.work_model import copied_pass, fitted_slope, limit, shared_pass
from vergence.clock import Clock


def result(cpu, *, wall=1.0, others=0.0, peak=10**9, rounds=2, **more):
    one = {"wall": wall, "cpu": cpu, "losses": [0.0]}
    one |= {f"phases_{name}": dict.fromkeys(PHASES, cpu / len(PHASES)) for name in ("wall", "cpu")}
    counts = ("tower_images", "tower_images_grad", "preprocessed", "decoded", "generated_tokens", "trained_tokens")
    one |= dict.fromkeys(counts, 8) | more
    versions = {"trl": "1", "transformers": "5", "torch": "2", "vergence": "0"}
    return {"rounds": [one] * rounds, "peak_bytes": peak, "others": others, "versions": versions}


def entry(*ratios, **ours):
    pairs = [(result(ratio, peak=3 * 10**9), result(1.0, **ours)) for ratio in ratios]
    versions = {"peer": pairs[0][0]["versions"], "vergence": pairs[0][1]["versions"]}
    return {"date": "2026-01-01", "versions": versions} | config_figures(pairs)


def test_ratios_are_peer_over_ours_per_round_and_not_per_run():
    figures = pair_figures(result(6.0, wall=4.0, rounds=1), result(2.0, wall=1.0, rounds=3))
    assert figures["cpu_ratio"] == pytest.approx(3.0)
    assert figures["wall_ratio"] == pytest.approx(4.0)
    assert figures["memory_ratio"] == pytest.approx(1.0)
    assert per_round(result(2.0, rounds=5), "cpu") == pytest.approx(2.0)


@pytest.mark.parametrize(("peer", "ours", "contended"), [(0.0, 0.2, False), (0.21, 0.0, True), (0.0, 0.3, True)])
def test_a_pair_is_contended_if_either_side_had_company(peer, ours, contended):
    assert pair_figures(result(1.0, others=peer), result(1.0, others=ours))["contended"] is contended


def test_one_contended_pair_takes_the_trust_from_the_wall_ratio():
    quiet = [(result(3.0), result(1.0))] * 2
    assert config_figures(quiet)["trusted"] == "wall_ratio"
    figures = config_figures([*quiet, (result(3.0, others=1.0), result(1.0))])
    assert (figures["trusted"], figures["contended_pairs"]) == ("cpu_ratio", 1)


def test_the_median_is_of_pairs_and_the_range_of_all():
    assert entry(5.0, 1.0, 2.0)["cpu_ratio"] == {"median": 2.0, "min": 1.0, "max": 5.0}
    assert spread([4.0]) == {"median": 4.0, "min": 4.0, "max": 4.0}
    assert ranged(spread([3.0, 1.0, 2.0])) == "2.00 (1.00-3.00)"


def test_the_second_reading_of_mpo_pays_for_the_reference_in_every_step():
    figures = entry(3.0, reference_once_wall=0.25, reference_once_cpu=0.5)
    assert figures["cpu_ratio"]["median"] == pytest.approx(3.0)
    assert figures["cpu_ratio_paid"]["median"] == pytest.approx(2.0)
    assert figures["wall_ratio_paid"]["median"] == pytest.approx(0.8)
    assert "cpu_ratio_paid" not in entry(3.0)


def test_unpatched_trl_is_set_against_ours_and_stays_beside_the_peer():
    figures = config_figures([(result(3.0), result(1.0))], [result(8.0)])
    assert figures["stock_cpu_ratio"]["median"] == pytest.approx(8.0)
    assert figures["cpu_ratio"]["median"] == pytest.approx(3.0)


def test_a_partial_run_leaves_other_configurations_and_lanes_alone():
    old = {"configs": {"G1": entry(3.0), "G2": entry(6.0)}, "equality": {"passed": True}, "scaling": [1]}
    new = with_config(old, "G2", entry(7.0))
    assert new["configs"]["G1"].items() >= old["configs"]["G1"].items()
    assert new["configs"]["G2"]["cpu_ratio"]["median"] == 7.0
    assert new["equality"] == {"passed": True}
    assert new["scaling"] == [1]
    assert old["configs"]["G2"]["cpu_ratio"]["median"] == 6.0
    assert merged({}, {"scaling": [2]}) == {"scaling": [2]}


def test_the_page_says_which_configuration_was_measured_on_which_machine():
    """Of a file with two machines; each configuration keeps its own when another one is measured elsewhere."""
    there = {"processor": "Abacus", "cores": 4, "memory_gb": 8.0}
    old = {"configs": {"G1": entry(3.0), "G2": entry(6.0)}, "machine": there}
    new = with_config(old, "G2", entry(7.0))
    assert new["configs"]["G1"]["machine"] == there
    text = " ".join(rendered(new).split())
    assert "on 4 cores of Abacus, 8 GB (G1); 2026-01-01 on" in text
    assert "GB (G2), no GPU" in text
    alone = {**new, "configs": {"G2": new["configs"]["G2"]}}
    assert "(G2), no GPU" not in " ".join(rendered(alone).split())


def test_foreign_load_is_over_all_pairs_of_all_configurations():
    loads = foreign_load([config_figures([(result(1.0, others=one), result(1.0))]) for one in (0.1, 0.5, 0.3)])
    assert loads == {"median": 0.3, "min": 0.1, "max": 0.5}


def test_the_worst_configuration_comes_first():
    configs = {"G1": entry(3.0), "G4": entry(1.4), "G2": entry(6.0)}
    assert by_worst(configs) == ["G4", "G1", "G2"]
    lines = ratio_table(configs).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["G4", "G1", "G2"]
    assert "1.5 missed" in lines[2]
    assert "3 met" in lines[3]
    assert len({len(line) for line in lines}) == 1


def test_a_table_is_markdown_with_even_columns():
    assert table(["a", "bcd"], [["ef", "g"]]) == "| a  | bcd |\n| -- | --- |\n| ef | g   |"


def test_every_configuration_has_an_aim_and_a_limit_above_one():
    assert AIMS.keys() == CONFIGS.keys()
    assert all(limit(config) > 1 for config in CONFIGS.values())


@pytest.mark.parametrize(("name", "ratio"), [("G1", 3.7), ("G2", 6.1), ("G3", 4.2), ("G4", 1.3), ("G5", 2.0)])
def test_the_work_model_gives_the_ratios_that_were_worked_out_before(name, ratio):
    assert limit(CONFIGS[name]) == pytest.approx(ratio, abs=0.06)


def test_slopes_are_one_for_what_is_proportional_and_nothing_for_what_is_free():
    assert fitted_slope([1, 2, 4], [3, 6, 12]) == pytest.approx(1.0)
    assert fitted_slope([1, 2, 4], [5, 5, 5]) == pytest.approx(0.0)
    one = shared_pass(256, 64, 1, 1, side=196, vocab=1024)
    assert one == copied_pass(256, 64, 1, 1, side=196, vocab=1024)


def test_modelled_costs_have_the_modelled_slope():
    rows = []
    for name, sizes in SIZES.items():
        for size in sizes:
            shape = {"P": 256, "C": 64, "G": 8, "prompts": 1} | {name: size}
            cost = shared_pass(*shape.values(), side=196, vocab=1024)
            rows.append({"quantity": name} | shape | dict.fromkeys(("rollout", "logprobs", "update"), cost))
    found = slopes(rows)
    assert all(row["slope"] == pytest.approx(row["model"]) for row in found)
    assert {row["quantity"]: round(row["copies"], 3) for row in found}["G"] == 1.0
    assert all(row["model"] < 1 for row in found if row["quantity"] in {"P", "C", "G"})
    assert scaling_table(found).count("\n") == 1 + len(found)


def test_a_question_grows_word_by_word():
    assert lengthened("a b", 5) == "a b a b a"
    assert lengthened("a b", 1) == "a"


def test_busy_seconds_leave_out_idle_waiting_and_guests(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    assert busy_seconds("cpu 100 20 30 999 888 4 5 6 70 80\ncpu0 1 1 1 1 1 1 1 1 1 1\n") == pytest.approx(1.65)


def test_relative_difference_is_over_the_peers_norm_and_counts_what_is_absent():
    peer = {"a": torch.tensor([3.0, 4.0])}
    assert relative({"a": torch.tensor([3.0, 4.5])}, peer) == pytest.approx(0.1)
    assert relative({}, peer) == pytest.approx(1.0)
    assert relative(peer | {"b": torch.tensor([5.0])}, peer) == pytest.approx(1.0)


def test_what_is_not_a_number_fails():
    good = {"logprobs": 1e-6, "gradient": 1e-6, "losses": 1e-6, "parameters": 1e-6}
    assert failed(good) == []
    assert failed(good | {"gradient": 2e-5}) == ["gradient"]
    assert failed(good | {"losses": math.nan}) == ["losses"]


def test_sgd_decides_only_where_it_was_asked_and_agreed():
    case = {"name": "tiny-llava", "passed": False, "failed": ["parameters"]}
    assert (verdict(case), counts(case)) == ("FAIL: parameters", False)
    assert (verdict(case | {"superseded": True}), counts(case | {"superseded": True})) == ("see SGD", True)
    assert not counts(case | {"superseded": False})
    old = {"equality": {"cases": [{"name": "tiny-llava", "passed": False}, {"name": "tiny-internvl", "passed": True}]}}
    new = with_cases(old, [{"name": "tiny-llava", "passed": True}])
    assert new["passed"]
    assert [one["name"] for one in new["cases"]] == ["tiny-internvl", "tiny-llava"]


def test_publishing_keeps_what_was_written_by_hand(tmp_path):
    results, page = tmp_path / "results.json", tmp_path / "docs" / "speed.md"
    configs = {
        "G1": entry(3.0),
        "D1": entry(5.0),
        "D2": entry(4.0),
        "M1": entry(2.0, reference_once_wall=0.2, reference_once_cpu=0.2),
    }
    for name, figures in configs.items():
        publish(results, page, lambda old, n=name, f=figures: with_config(old, n, f))
    text = page.read_text()
    page.write_text(text.replace(BY_HAND[0], f"{BY_HAND[0]}\n## Digits\n\nfaster"))
    publish(results, page, lambda old: old)
    assert by_hand(page.read_text()) == "## Digits\n\nfaster"
    assert json.loads(results.read_text())["configs"].keys() == configs.keys()
    first, second = page.read_text().split("## Half of the groups without a signal")
    assert "P=256 C=64 mu=1 beta=0 1k 4 prompts 50% dead" in second
    assert "P=256 C=64 mu=1 beta=0.04 1k 4 prompts 50% dead" in second
    assert "| D1 |" not in first
    assert "| D2 |" not in first


def test_a_page_without_any_figure_says_so():
    assert "Nothing has been timed yet." in rendered({})


def test_the_reward_and_the_dead_groups_are_what_both_sides_were_told():
    assert reward([1, 2, 3]) == pytest.approx(0.0685, abs=1e-4)
    assert [is_dead(index, 0.5) for index in range(4)] == [False, True, False, True]
    assert not any(is_dead(index, 0.0) for index in range(4))


def test_the_clock_of_rounds_can_stand_in_for_the_products() -> None:
    """The loops of the product call it; a method that only the product's clock has would end a benchmark."""
    methods = {name for name in vars(Clock) if not name.startswith("_")}
    assert methods <= set(dir(RoundClock))
    clock = RoundClock()
    with clock.phase("generate"):
        pass
    assert 0 < clock.spent("generate") < 5
    clock.take()
    assert clock.spent("generate") == 0
