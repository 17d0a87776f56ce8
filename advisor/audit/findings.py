"""What `recommend` sees of the faults of a data set while it measures: it costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.audit import labels
from advisor.data.names import listed
from advisor.evidence.measure import Measured


@dataclass(frozen=True)
class Finding:
    """Something that is probably wrong with the data.

    Attributes:
        kind: "labels".
        text: a sentence for people.
        paths: of the images, as the user knows them, the most probable first.
    """

    kind: str
    text: str
    paths: tuple[str, ...]


def findings(measured: Measured, seed: int) -> tuple[Finding, ...]:
    """Labels that are probably wrong among the images that were probed; see `advisor.audit.labels`."""
    data, told = measured.data, measured.evidence.probes.held_out
    if told is None:
        return ()
    judged = labels.judge(told, data.labels[measured.probed], seed)
    if not len(judged.suspects):
        return ()
    shown = [data.shown(data.paths[measured.probed[row]]) for row in judged.suspects]
    named = [
        f"{path} (looks like {data.class_names[judged.suggested[row]]})"
        for path, row in zip(shown, judged.suspects, strict=True)
    ]
    text = (
        f"{len(shown):,} of {len(judged.labels):,} labels may be wrong, first {listed(named, 2)}; "
        "advisor audit shows them"
    )
    return (Finding("labels", text, tuple(shown)),)
