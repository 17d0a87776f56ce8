"""What `recommend` sees of the faults of a data set while it measures: it costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.audit import labels
from advisor.audit.labels import Labels
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


def judge(measured: Measured, seed: int) -> Labels | None:
    """What is known of the labels of the images that were probed; None where nothing was."""
    data, told = measured.data, measured.evidence.probes.held_out
    return None if told is None else labels.judge(told, data.labels[measured.probed], seed)


def findings(measured: Measured, judged: Labels | None) -> tuple[Finding, ...]:
    """Labels that are probably wrong among the images that were probed; see `advisor.audit.labels`.

    Args:
        measured: the data set, with what probes say of it.
        judged: what `judge` says of its labels.
    """
    data = measured.data
    if judged is None or not len(judged.suspects):
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
