"""A head that starts from the rows of the backbone's own classifier, where it knew the target classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from advisor.errors import InputError
from advisor.evidence.linear_head import LinearHead
from recipes.job import Job


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
