"""Counter-based random numbers: a draw is a function of its key, not of what was drawn before.

NumPy's own Philox generator gives one stream per key; here every sample of a batch has a key, and
all of them are drawn at once.
"""

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError

# the constants are those of the paper named in `philox`: other values would be another generator
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_ROUNDS = 10


def philox(
    counter: tuple[NDArray[np.uint64], ...], key: tuple[NDArray[np.uint64], ...]
) -> tuple[NDArray[np.uint64], ...]:
    """Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).

    Args:
        counter: four arrays of one shape, each holding 32-bit words.
        key: two arrays that broadcast with them, likewise.

    Returns:
        Four arrays of 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # products of two 32-bit words fill 64 bits; their halves become the next words
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _WORD, (p0 >> _HALF) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def uniforms(
    samples: NDArray[np.int64], views: NDArray[np.int64], count: int, *, seed: int, epoch: int
) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) for each (sample, view) under (seed, epoch).

    Args:
        samples: (N,) any integers, the samples' own numbers.
        views: (N,) the views' numbers, below 2^32.

    Returns:
        (N, count); the first k columns do not depend on `count`.

    Raises:
        ConfigError: seed or epoch does not fit 32 bits.
    """
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**32:
            raise ConfigError(f"{name} is {value}; it must lie in 0 .. 2^32 - 1")
    # One call gives four words, so the counter runs over blocks of four draws. Counter and key
    # together spell out (block, view, sample, seed, epoch), so that no two draws share an address.
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    words = samples.astype(np.int64).view(np.uint64)[:, None]
    shape = (len(samples), len(blocks))
    counter = (
        np.broadcast_to(blocks, shape),
        np.broadcast_to(views.astype(np.uint64)[:, None], shape),
        np.broadcast_to(words & _WORD, shape),
        np.broadcast_to(words >> _HALF, shape),
    )
    key = (np.full((1, 1), seed, np.uint64), np.full((1, 1), epoch, np.uint64))
    drawn = np.stack(philox(counter, key), axis=-1).reshape(len(samples), -1)
    return np.asarray(drawn[:, :count] * 2.0**-32)  # exact in fp64, and never 1
