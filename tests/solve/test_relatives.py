"""What stands around a model: its family, what came before and after, what is worth comparing."""

import pytest

from runlocal.catalog.bundle import read
from runlocal.catalog.models import bundled, index
from runlocal.solve.relatives import relatives


def test_the_family_of_the_11b() -> None:
    around = relatives(bundled("llama-3.2-11b-vision"))
    assert around.siblings == ("llama-3.2-11b-vision-base", "llama-3.2-90b-vision")
    assert around.twins == ("llama-3.1-8b",)
    assert around.predecessor is None


@pytest.mark.parametrize(
    ("model", "before", "after"),
    [
        ("llama-3.1-8b", "llama-3-8b", None),  # 3.2 has no model of that size, nor has 3.3
        ("llama-3.1-70b", "llama-3-70b", "llama-3.3-70b"),
        ("qwen2.5-vl-7b", "qwen2-vl-7b", "qwen3-vl-8b"),
        ("mistral-small-3.1-24b", None, "mistral-small-3.2-24b"),  # 3 has no eyes
        ("glm-4.6-355b", "glm-4.5-355b", "glm-4.7-355b"),
    ],
)
def test_what_came_before_and_after(model: str, before: str | None, after: str | None) -> None:
    around = relatives(bundled(model))
    assert (around.predecessor, around.successor) == (before, after)


@pytest.mark.parametrize("model", sorted(index()))
def test_what_is_worth_comparing_is_of_other_families_and_of_its_size(model: str) -> None:
    models, around = index(), relatives(bundled(model))
    own = models[model]
    families = [models[one.id]["family"] for one in around.compared]
    assert own["family"] not in families
    assert model not in around.siblings
    for one in around.compared:
        other = models[one.id]
        assert ("vision" in other["modalities"]) == ("vision" in own["modalities"])
        ratio = other["parameters"] / own["parameters"]
        assert {"as large": 0.74 < ratio < 1.35, "larger": 1.3 < ratio <= 3.5, "smaller": ratio < 0.77}[one.band]
    for band in ("as large", "larger", "smaller"):
        named = [models[one.id]["family"] for one in around.compared if one.band == band]
        assert len(set(named)) == len(named), "one of each family"


def test_nothing_is_known_around_a_model_that_is_not_bundled() -> None:
    around = relatives(bundled("llama-3.1-8b")._replace(id="somebodys-own"))
    assert around == ((), None, None, (), ())


def test_every_family_of_a_series_is_bundled() -> None:
    families = {entry["family"] for entry in index().values()}
    assert {family for series in read("series") for family in series} <= families
