"""Moves for the denoising task: each fills one step of the seed's pipeline or turns one of its constants.

The steps are functions of fixed names (`stabilise`, `smooth`, `sharpen`, `prior`, …), so moves compose in any order: a
later `smooth` replaces an earlier one, and a constant keeps its value when a function around it changes. A move whose
constant or step is not in use yet returns the source unchanged. Coarse moves come first, fine ones last.
"""

from __future__ import annotations

from agents.edits import (
    EditError,
    constant,
    function_source,
    has_function,
    insert_before_function,
    replace_function,
    set_constant,
)
from feedback.moves import move
from feedback.moves.denoising_steps import (
    DIFFUSION,
    HELD_OUT,
    LEADING,
    LOG_STABILISE,
    LOG_UNSTABILISE,
    LOSSES,
    LOW_RANK,
    MEAN_PRIOR,
    POISSON_FACTORS,
    SHRUNK_LOW_RANK,
    SMOOTH,
)

TASK = "denoising"

FIXED_SETTINGS = "return CONTRAST, PRIOR_WEIGHT"


def _put(source: str, name: str, text: str, before: str) -> str:
    """Replace the function `name`, or add it before the function `before`; and with it the one that they rest on."""
    if "leading(" in text and not has_function(source, "leading"):
        source = insert_before_function(source, before, LEADING)
    if has_function(source, name):
        return replace_function(source, name, text.strip("\n"))
    return insert_before_function(source, before, text)


def _smooth_by(source: str, how: str, what: str) -> str:
    return replace_function(source, "smooth", SMOOTH.format(how=how, what=what).strip("\n"))


def _with_square_roots(source: str) -> str:
    """Counts are smoothed as square roots unless another power was chosen: else the largest genes drown the rest."""
    return set_constant(source, "POWER", 0.5) if constant(source, "POWER") == 1.0 else source


def _number(source: str, name: str) -> float:
    value = constant(source, name)
    if not isinstance(value, int | float):
        raise EditError(f"{name} is not a number")
    return value


def _settings_are_fixed(source: str) -> bool:
    """False once the program chooses contrast and prior weight itself, so that their constants mean nothing."""
    return FIXED_SETTINGS in function_source(source, "settings")


def _smooths(source: str) -> bool:
    """False while `smooth` does nothing: then no scale to smooth on, nor how much, matters yet."""
    return "return values" not in function_source(source, "smooth")


def _uses(source: str, name: str) -> bool:
    """True when `smooth` or `prior` rests on the constant, directly or through the functions that they call."""
    reached = "".join(
        function_source(source, f) for f in ("prior", "low_rank", "diffusion")
        if f == "prior" or (has_function(source, f) and f"{f}(" in function_source(source, "smooth"))
    )  # fmt: skip
    return name in reached


def _scale(source: str, name: str, factor: float, low: float, high: float) -> str:
    """Multiply a constant, within bounds; a whole number stays one."""
    old = _number(source, name)
    new = min(max(old * factor, low), high)
    return set_constant(source, name, round(new) if isinstance(old, int) else round(new, 3))


@move(TASK)
def smooth_low_rank(source: str) -> str:
    """Keep the leading singular components of the square-root shares: cells have few degrees of freedom."""
    text = _put(_with_square_roots(source), "low_rank", LOW_RANK, "smooth")
    return _smooth_by(text, "low_rank(values)", "Take out noise: only the leading components are kept.")


@move(TASK)
def choose_by_holdout(source: str) -> str:
    """Hold out a tenth of the training molecules, and choose contrast and prior weight by the error on them."""
    if not _settings_are_fixed(source):
        return source
    text = replace_function(source, "settings", HELD_OUT.strip("\n"))
    return insert_before_function(text, "settings", LOSSES)


@move(TASK)
def sharpen_contrast(source: str) -> str:
    """Raise contrast, and lean a little on the prior to pay for it: errors are of sparse logs, mostly of zeros."""
    if not _settings_are_fixed(source):
        return source
    text = set_constant(source, "PRIOR_WEIGHT", max(0.1, _number(source, "PRIOR_WEIGHT")))
    return _scale(text, "CONTRAST", 1.2, 0.5, 2.0)


@move(TASK)
def smooth_both(source: str) -> str:
    """Average low-rank and neighbourhood smoothing: their errors differ, so the mean of both is better than either."""
    text = _put(_with_square_roots(source), "low_rank", SHRUNK_LOW_RANK, "smooth")
    text = _put(text, "diffusion", DIFFUSION, "smooth")
    return _smooth_by(text, "0.5 * (low_rank(values) + diffusion(values))", "Take out noise in two ways, and average.")


@move(TASK)
def smooth_diffusion(source: str) -> str:
    """Average similar cells over a graph of nearest neighbours, as MAGIC does."""
    text = _put(_with_square_roots(source), "diffusion", DIFFUSION, "smooth")
    return _smooth_by(text, "diffusion(values)", "Take out noise: similar cells are averaged.")


@move(TASK)
def shrink_components(source: str) -> str:
    """Shrink singular values by the size of noise: a noisy component is kept in part, not all or nothing."""
    text = _put(_with_square_roots(source), "low_rank", SHRUNK_LOW_RANK, "smooth")
    if "low_rank(values)" in function_source(text, "smooth"):
        return text
    return _smooth_by(text, "low_rank(values)", "Take out noise: components are shrunk by what noise adds.")


@move(TASK)
def more_components(source: str) -> str:
    """Keep half as many components again: rare cell types need their own."""
    return _scale(source, "RANK", 1.5, 2, 100) if _uses(source, "RANK") else source


@move(TASK)
def blend_poisson_factors(source: str) -> str:
    """Mix in a fifth of a Poisson factorisation, which has the best likelihood and leaves no rate at zero."""
    text = replace_function(source, "prior", POISSON_FACTORS.strip("\n"))
    return set_constant(text, "PRIOR_WEIGHT", max(0.2, _number(text, "PRIOR_WEIGHT")))


@move(TASK)
def stabilise_higher_power(source: str) -> str:
    """Smooth on a flatter scale than now (power x 1.25), where averages keep sums and the likelihood is better."""
    if not _smooths(source) or "POWER" not in function_source(source, "stabilise"):
        return source
    return _scale(source, "POWER", 1.25, 0.25, 1.0)


@move(TASK)
def stabilise_lower_power(source: str) -> str:
    """Smooth on a steeper scale than now (power x 0.8), nearer to the logarithm that the error is measured on."""
    if not _smooths(source) or "POWER" not in function_source(source, "stabilise"):
        return source
    return _scale(source, "POWER", 0.8, 0.25, 1.0)


@move(TASK)
def sharpen_slightly(source: str) -> str:
    """Raise the contrast by a small step, where a large one would cost too much likelihood."""
    return _scale(source, "CONTRAST", 1.08, 0.5, 2.0) if _settings_are_fixed(source) else source


@move(TASK)
def less_prior(source: str) -> str:
    """Lean less on the prior: less of what is common to all cells."""
    return _scale(source, "PRIOR_WEIGHT", 0.6, 0.0, 0.6) if _settings_are_fixed(source) else source


@move(TASK)
def more_prior(source: str) -> str:
    """Lean more on the prior: better likelihood, which pays for more contrast."""
    if not _settings_are_fixed(source):
        return source
    return set_constant(source, "PRIOR_WEIGHT", round(min(0.6, _number(source, "PRIOR_WEIGHT") + 0.1), 3))


@move(TASK)
def fewer_components(source: str) -> str:
    """Keep a third fewer components: the last ones are mostly noise."""
    return _scale(source, "RANK", 0.67, 2, 100) if _uses(source, "RANK") else source


@move(TASK)
def fewer_neighbours(source: str) -> str:
    """Average over fewer similar cells: less blur between cell types."""
    return _scale(source, "NEIGHBOURS", 0.6, 2, 60) if _uses(source, "NEIGHBOURS") else source


@move(TASK)
def blend_gene_mean(source: str) -> str:
    """Mix in a little of the mean cell: a gene that was not seen in a cell is seldom impossible there."""
    text = replace_function(source, "prior", MEAN_PRIOR.strip("\n"))
    return set_constant(text, "PRIOR_WEIGHT", max(0.05, round(_number(text, "PRIOR_WEIGHT") / 2, 3)))


@move(TASK)
def stabilise_log(source: str) -> str:
    """Smooth logarithms of shares: averages are then close to what the error is measured on."""
    if not _smooths(source):
        return source
    text = replace_function(source, "stabilise", LOG_STABILISE.strip("\n"))
    return replace_function(text, "unstabilise", LOG_UNSTABILISE.strip("\n"))
