import numpy as np
import pytest

from deo.errors import ConfigError
from deo.maps.classifiers import METHODS, fit_classifier

pytest.importorskip("sklearn")


def examples(classes: int, count: int = 60, channels: int = 12):  # type: ignore[no-untyped-def]
    """Synthetic clouds of unequal sizes, on a scale and an offset of their own in each channel."""
    rng = np.random.default_rng(classes)
    numbers = np.minimum(rng.integers(0, classes + 1, count), classes - 1)
    numbers[:classes] = np.arange(classes)
    centres = rng.normal(size=(classes, channels)) * 2
    vectors = centres[numbers] + rng.normal(size=(count, channels))
    return ((vectors + 3) * np.logspace(-2, 3, channels)).astype(np.float32), numbers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities__are_those_of_scikit_learn(method: str, classes: int) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    vectors, numbers = examples(classes)
    unseen, _ = examples(classes, count=500)
    plain = {
        "logistic": LogisticRegression(class_weight="balanced", max_iter=1000),
        "neighbours": KNeighborsClassifier(5, algorithm="brute"),
        "forest": RandomForestClassifier(100, class_weight="balanced", random_state=0),
    }[method]
    wanted = make_pipeline(StandardScaler(), plain).fit(vectors, numbers).predict_proba(unseen)
    ours = fit_classifier(vectors, numbers, "abcd"[:classes], method=method).probabilities(unseen)
    assert ours.dtype == np.float32
    if method == "forest":  # rounding of the standardised features moves a cell over a threshold
        assert (np.abs(ours - wanted).max(axis=1) > 1e-6).mean() < 0.02
    else:
        np.testing.assert_allclose(ours, wanted, atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_probabilities__are_nan_without_data_and_the_same_in_any_part(method: str) -> None:
    vectors, numbers = examples(3)
    one = fit_classifier(vectors, numbers, "abc", method=method)
    again = fit_classifier(vectors, numbers, "abc", method=method)
    unseen, _ = examples(3, count=100)
    unseen[17, 3] = np.nan
    shares = one.probabilities(unseen)
    assert np.isnan(shares[17]).all()
    assert np.isfinite(np.delete(shares, 17, axis=0)).all()
    np.testing.assert_allclose(np.delete(shares, 17, axis=0).sum(axis=1), 1, atol=1e-6)
    assert shares.tobytes() == again.probabilities(unseen).tobytes()
    assert (one.probabilities(vectors).argmax(axis=1) == numbers).mean() > 0.9


def test_fit_classifier__takes_constant_features_and_one_example_a_class() -> None:
    vectors = np.array([[1, 7, 0], [2, 7, 0]], np.float32)
    for method in METHODS:
        shares = fit_classifier(vectors, np.array([0, 1]), "ab", method=method).probabilities(
            vectors
        )
        assert np.isfinite(shares).all()
    with pytest.raises(ConfigError, match="did you mean 'forest'"):
        fit_classifier(vectors, np.array([0, 1]), "ab", method="forrest")
