"""Ridge regression of low rank: the few directions of the features that tell most about the labels."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

Floats = npt.NDArray[np.float32]


def fit_reduced_rank(features: Floats, labels: Floats, rank: int, ridge: float) -> Floats:
    """Weights [d, rank] whose products with the features approximate the labels, up to a rotation, best of all.

    Reduced-rank regression (Izenman 1975) with a ridge: B = argmin |Y - X B|^2 + ridge * d * |B|^2, then
    W = B V, where V holds the first eigenvectors of Y' X B: the right singular vectors of the fit where the ridge is
    written as further rows of X. Inner products of rows of X W are those of the predicted labels, as far as `rank`
    dimensions can hold them. Solved in the dual, B = X' (X X' + ridge d I)^-1 Y, in which the n pictures are fewer
    than the d features.

    Args:
        features: X [n, d], standardised.
        labels: Y [n, t], centred.
        rank: of the result; columns beyond the rank of the labels are 0.
        ridge: > 0, in units of the mean square of a feature.
    """
    kernel = (features @ features.T).astype(np.float64) / features.shape[1]
    # In double precision: the kernel's eigenvalues span six powers of ten.
    regularised = kernel.copy()
    regularised[np.diag_indices_from(regularised)] += ridge
    factor = cho_factor(regularised, lower=True, overwrite_a=True, check_finite=False)
    dual = cho_solve(factor, labels.astype(np.float64))
    agreed = labels.T.astype(np.float64) @ (kernel @ dual)
    _, axes = np.linalg.eigh((agreed + agreed.T) / 2)  # symmetric but for rounding
    first = axes[:, ::-1][:, :rank]
    weights = np.zeros((features.shape[1], rank), np.float32)
    weights[:, : first.shape[1]] = features.T @ (dual @ first).astype(np.float32) / features.shape[1]
    return weights
