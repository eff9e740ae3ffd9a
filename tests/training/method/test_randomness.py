import numpy as np
import pytest

from deo.errors import ConfigError
from deo.training.method.randomness import philox, uniforms


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox__published_answers(counter: str, key: str, expected: str) -> None:
    def words(text: str) -> tuple[np.ndarray, ...]:
        return tuple(np.array([int(word, 16)], np.uint64) for word in text.split())

    assert philox(words(counter), words(key)) == words(expected)


def test_uniforms__even_and_uncorrelated() -> None:
    drawn = uniforms(np.arange(5000), np.zeros(5000, np.int64), 9, seed=1, epoch=2)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn, bins=20)
    assert abs(counts / counts.mean() - 1).max() < 0.1
    assert abs(np.corrcoef(drawn.T) - np.eye(9)).max() < 0.06


def test_uniforms__keyed_by_seed_epoch_sample_and_view() -> None:
    def draw(sample: int, view: int, seed: int, epoch: int, count: int = 6) -> list[float]:
        keys = np.array([sample]), np.array([view])
        return uniforms(*keys, count, seed=seed, epoch=epoch)[0].tolist()

    base = draw(5, 1, 0, 0)
    others = [draw(6, 1, 0, 0), draw(5 + 2**32, 1, 0, 0), draw(-5, 1, 0, 0), draw(5, 2, 0, 0)]
    others += [draw(5, 1, 1, 0), draw(5, 1, 0, 1)]
    assert all(not set(base) & set(other) for other in others)
    assert draw(5, 1, 0, 0, count=3) == base[:3]


def test_uniforms__seed_out_of_range() -> None:
    with pytest.raises(ConfigError, match="seed is -1"):
        uniforms(np.zeros(1, np.int64), np.zeros(1, np.int64), 1, seed=-1, epoch=0)
