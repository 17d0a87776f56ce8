"""Signed square roots of features: what a head sees."""

from __future__ import annotations

from typing import Any

LINEAR_BELOW = 0.01  # keeps the slope at 0 finite, for gradient steps


def signed_root(features: Any) -> Any:
    """About sign(x) * sqrt(|x|), of an array or of a Keras tensor, of any shape.

    Pooled features have long tails; their roots are nearer to what a linear classifier takes best (Perronnin,
    Sánchez and Mensink, Improving the Fisher kernel for large-scale image classification, ECCV 2010). What it
    brings is measured by benchmarks/heads.py, table in benchmarks/README.md.
    """
    return features / (abs(features) + LINEAR_BELOW) ** 0.5
