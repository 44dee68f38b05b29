"""Seeds by meaning. The expected numbers are written down, so that no change of the recipe of a seed goes unnoticed."""

import itertools

from vergence.seeds import generator, seed_of


def test_seeds_stay_what_they_are() -> None:
    """First 8 bytes, little-endian, of SHA-256 over "int:7\\x1fstr:grpo\\x1fint:3\\x1fstr:rollout", halved."""
    assert 8958069694634839692 == seed_of(7, "grpo", 3, "rollout")
    assert 724655455495936113 == seed_of()


def test_generators_stay_what_they_are() -> None:
    """The raw bits of Philox: what numpy makes of them may change with numpy, they may not."""
    assert [7767294848795402451, 1314845396097889226] == generator(0, "pairs", 1).bit_generator.random_raw(2).tolist()


def test_equal_keys_give_equal_seeds_and_fresh_generators() -> None:
    assert seed_of(1, "a") == seed_of(1, "a")
    assert generator(1, "a").random(4).tolist() == generator(1, "a").random(4).tolist()


def test_distinct_keys_give_distinct_seeds() -> None:
    """Also where only type, order, or the place of a boundary differs."""
    parts = [0, 1, 12, -1, "0", "1", "12", "a", "b", "ab", ""]
    keys = [key for length in range(4) for key in itertools.product(parts, repeat=length)]
    assert len(keys) == len({seed_of(*key) for key in keys})


def test_seeds_fit_in_63_bits() -> None:
    seeds = [seed_of("range", index) for index in range(2000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
