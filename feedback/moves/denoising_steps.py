"""The text of the steps that the denoising moves put into a harness: functions, as they will stand in the program."""

LEADING = '''
def leading(values, number):
    """The leading singular vectors and values, largest first; the others are never computed."""
    from scipy.sparse.linalg import svds

    number = min(number, min(values.shape) - 1)
    left, size, right = svds(values, k=number, v0=np.ones(min(values.shape)))
    return left[:, ::-1], size[::-1], right[::-1]
'''

LOW_RANK = '''
def low_rank(values):
    """The best approximation of rank RANK (truncated singular value decomposition)."""
    left, size, right = leading(values, RANK)
    return (left * size) @ right
'''

SHRUNK_LOW_RANK = '''
def low_rank(values):
    """Low-rank approximation whose singular values are shrunk by what noise alone adds to them."""
    left, size, right = leading(values, RANK + 21)
    noise = size[min(RANK + 20, len(size) - 1)]
    kept = np.sqrt(np.maximum(size[:RANK] ** 2 - noise**2, 0.0))
    return (left[:, :RANK] * kept) @ right[:RANK]
'''

DIFFUSION = '''
def diffusion(values):
    """Average each cell with its neighbours, STEPS times; neighbours are found among the principal components."""
    left, size, _ = leading(values - values.mean(axis=0), 20)
    place = left * size
    squares = (place**2).sum(axis=1)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2.0 * place @ place.T, 0.0)
    ordered = np.sort(apart, axis=1)
    near = ordered[:, [min(NEIGHBOURS, len(ordered) - 1)]]
    far = ordered[:, [min(3 * NEIGHBOURS, len(ordered) - 1)]]
    affinity = np.exp(-apart / np.maximum(near, 1e-12)) * (apart <= far)
    affinity = affinity + affinity.T
    walk = affinity / affinity.sum(axis=1, keepdims=True)
    for _ in range(STEPS):
        values = walk @ values
    return values
'''

SMOOTH = '''
def smooth(values):
    """{what}"""
    return {how}
'''

POISSON_FACTORS = '''
def prior(shares, library):
    """A cautious second estimate: rates from RANK // 2 non-negative Poisson factors (multiplicative updates)."""
    counts = shares * library
    rng = np.random.default_rng(0)
    rank = max(2, RANK // 2)
    cells = rng.gamma(5.0, 0.2, size=(counts.shape[0], rank))
    genes = rng.gamma(5.0, 0.2, size=(rank, counts.shape[1])) * counts.mean() / rank
    for _ in range(100):
        cells *= (counts / (cells @ genes + 1e-12)) @ genes.T / (genes.sum(axis=1) + 1e-12)
        genes *= cells.T @ (counts / (cells @ genes + 1e-12)) / (cells.sum(axis=0)[:, None] + 1e-12)
    rates = cells @ genes
    return rates / np.maximum(rates.sum(axis=1, keepdims=True), 1e-12)
'''

MEAN_PRIOR = '''
def prior(shares, library):
    """A cautious second estimate: the mean cell, for every cell."""
    mean = (shares * library).sum(axis=0) / library.sum()
    return np.broadcast_to(mean, shares.shape)
'''

LOG_STABILISE = '''
def stabilise(shares):
    """Shares on a logarithmic scale, in units of a thousandth."""
    return np.log1p(1000.0 * shares)
'''

LOG_UNSTABILISE = '''
def unstabilise(values):
    """Back to shares."""
    return np.expm1(np.maximum(values, 0.0)) / 1000.0
'''

HELD_OUT = '''
def settings(counts):
    """Contrast and prior weight with the least error on held-out molecules, where the likelihood is at least fair.

    Fair is LIKELIHOOD, and no worse than the mean cell. Many cells are not needed to choose two numbers.
    """
    rng = np.random.default_rng(0)
    train = counts.copy()
    train.data = rng.binomial(counts.data.astype(np.int64), 0.9).astype(np.float32)
    shares, library = share(train)
    mean = np.asarray(train.sum(axis=0)) / train.sum()
    some = np.sort(rng.permutation(counts.shape[0])[:400])
    smoothed, cautious = unstabilise(smooth(stabilise(shares)))[some], prior(shares, library)[some]
    test = (counts - train)[some].toarray().astype(np.float64)
    shares, library = shares[some], library[some]
    scale = test.sum() / (shares * library).sum()
    none, perfect = likelihood_loss(shares * library * scale, test), likelihood_loss(test * scale, test)
    fair = max(LIKELIHOOD, (none - likelihood_loss(mean * library * scale, test)) / (none - perfect))
    target = log_scale(test)
    best = None
    for contrast in np.arange(0.9, 1.75, 0.05):
        sharp = sharpen(smoothed, contrast)
        for weight in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
            rates = blend(sharp, cautious, weight) * library * scale
            fit = (none - likelihood_loss(rates, test)) / (none - perfect)
            error = np.mean((log_scale(rates) - target) ** 2)
            # Settings with a fair likelihood come first, by their error; else whichever has the best likelihood.
            rank = (0, error) if fit >= fair else (1, -fit)
            if best is None or rank < best[0]:
                best = (rank, contrast, weight)
    return best[1], best[2]
'''

LOSSES = '''
LIKELIHOOD = 0.775
"""Least normalised likelihood on held-out molecules; with all training molecules it is a little higher."""


def log_scale(rates):
    """log(1 + 10,000 x share), the scale that errors are measured on."""
    return np.log1p(1e4 * rates / np.maximum(rates.sum(axis=1, keepdims=True), 1e-12))


def likelihood_loss(rates, test):
    """Poisson loss of test counts under rates, per entry."""
    return np.mean(rates - test * np.log(rates + 1e-6))
'''
