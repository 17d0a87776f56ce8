"""The rows of the backbone's own classifier, where it knew the target classes, in a head."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from advisor.advice import rule
from advisor.errors import InputError
from advisor.evidence import linear_head
from advisor.evidence.head_input import HeadInput
from advisor.evidence.linear_head import Fitted, LinearHead
from recipes.job import Job
from recipes.training import pool


def from_base_labels(job: Job) -> LinearHead:
    """The rows of the backbone's classifier for the target classes.

    `settings.base_labels` names a JSON file with the list of the classifier's class names, in the order
    of its outputs.

    Raises:
        InputError: no such file, another number of names than outputs, a class that the backbone does
            not know, or a backbone without a classifier.
    """
    file = Path(job.settings.base_labels or "")
    try:
        names = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the class names in {file} ({error}); give a JSON list") from None
    classifier = job.backbone.classifier
    if classifier is None:
        raise InputError(f"{job.settings.backbone} has no classifier to start from; leave out --base-labels")
    kernel, bias = classifier
    if not isinstance(names, list) or len(names) != len(bias) or not all(isinstance(n, str) for n in names):
        raise InputError(f"{file} must be a JSON list of {len(bias)} class names, one for each output")
    unknown = sorted(set(job.data.class_names) - set(names))
    if unknown:
        raise InputError(
            f"class {unknown[0]!r} is not in {file}; rename its folder, or leave out --base-labels"
        )
    columns = np.array([names.index(name) for name in job.data.class_names])
    return LinearHead(kernel[:, columns], bias[columns])


def with_base_labels(job: Job, seen: HeadInput, labels: np.ndarray, weights: np.ndarray) -> Fitted:
    """The pool of the rows of the backbone's classifier and a solved head, or one of them alone.

    The rows have not seen the images, the solved head is judged by leave-one-out: so all images that it is
    fitted to can tell how much either should weigh.

    Args:
        job: whose backbone knew the classes.
        seen: `Job.head_features` of n images; its last part is for the rows, the others are for the head.
        labels: int64 [n].
        weights: of the images, float64 [n] of mean 1.
    """
    *own, last = seen.parts
    solved = linear_head.fit(HeadInput(tuple(own), seen.shares[:-1]), labels, job.classes, weights)
    rows = from_base_labels(job)
    held_out = np.log(np.maximum(solved.held_out, 1e-12)).astype(np.float64)
    told = rows.logits(HeadInput((last,))).astype(np.float64)
    share = rule.pool_weight(pool.best_weight(held_out, told, labels))
    kernels = ((1 - share) * solved.head.kernel, share * rows.kernel)
    both = replace(
        solved.head,
        kernel=np.concatenate(kernels),
        bias=(1 - share) * solved.head.bias + share * rows.bias,
    )
    return Fitted(both, pool.probabilities(held_out, told, share).astype(np.float32))
