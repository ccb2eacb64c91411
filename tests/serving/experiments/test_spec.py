"""Who is in which variant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import chisquare

from serving.experiments.spec import Spec, Variant, assigned, place_of

USERS = [f"C-{number:05d}" for number in range(20_000)]


def spec(*weights: float, salt: str = "spring", **rest) -> Spec:
    return Spec(name="spring", salt=salt, variants=tuple(
        Variant(name=f"v{place}", weight=weight) for place, weight in enumerate(weights)), **rest)


def counts(of: Spec) -> list[int]:
    found = [assigned(of, user).name for user in USERS]
    return [found.count(variant.name) for variant in of.variants]


def test_a_place_is_what_any_other_program_makes_of_the_same_bytes() -> None:
    # The first 16 digits of: printf 'spring\nC-00042' | sha256sum
    assert place_of("spring", "C-00042") == pytest.approx(0x9ee79034125d693a / 2**64, abs=1e-15)
    assert place_of("a-1", "ü") == pytest.approx(0xb5298f3d14b10f6a / 2**64, abs=1e-15)


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (1, 1, 2)])
def test_users_fall_to_the_variants_by_their_weights(weights: tuple[float, ...]) -> None:
    expected = [len(USERS) * weight / sum(weights) for weight in weights]
    assert chisquare(counts(spec(*weights)), expected).pvalue > 0.01


def test_places_are_uniform() -> None:
    tenths = [0] * 10
    for user in USERS:
        tenths[int(10 * place_of("spring", user))] += 1
    assert chisquare(tenths).pvalue > 0.01


def test_another_salt_assigns_anew_and_the_same_one_never() -> None:
    one, other = spec(1, 1), spec(1, 1, salt="autumn")
    assert [assigned(one, user) for user in USERS[:100]] == [assigned(one, user) for user in USERS[:100]]
    both = [[0, 0], [0, 0]]
    for user in USERS:
        both[int(assigned(one, user).name[1])][int(assigned(other, user).name[1])] += 1
    assert chisquare([count for line in both for count in line]).pvalue > 0.01


@given(weights=st.lists(st.floats(0.001, 1000), min_size=2, max_size=10), unit=st.text(
    st.characters(exclude_categories=["Cs"]), max_size=30))
def test_everybody_is_in_one_variant(weights: list[float], unit: str) -> None:
    of = spec(*weights)
    assert assigned(of, unit) in of.variants
    assert 0 <= place_of("spring", unit) < 1
    assert sum(of.shares.values()) == pytest.approx(1)


def test_variants_need_names_of_their_own_and_company() -> None:
    with pytest.raises(ValidationError, match="give each a name of its own"):
        Spec(name="a", variants=(Variant(name="x"), Variant(name="x")))
    with pytest.raises(ValidationError):
        spec(1)
    with pytest.raises(ValidationError):
        Variant(name="Not so", weight=1)
    with pytest.raises(ValidationError):
        spec(1, 0)
