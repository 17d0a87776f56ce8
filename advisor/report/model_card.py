"""README.md of a run folder: a model card as Hugging Face reads it.

Reference: Mitchell et al., Model Cards for Model Reporting, FAT* 2019; the fields of the front matter are
those of https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from advisor.advice import plan
from advisor.report.terminal import WHAT, near_copies_told
from advisor.results import wilson_interval
from advisor.system.storage import replacing
from advisor.system.text import legible

if TYPE_CHECKING:
    from recipes.runs.run_folder import Run

MOST_CLASSES = 50

LOADING = """\
import json, keras
model = keras.saving.load_model("model.keras")
image = keras.utils.load_img("image.jpg", target_size=({size}, {size}), interpolation="bicubic", \
keep_aspect_ratio=True)
probabilities = model.predict(keras.utils.img_to_array(image)[None])[0]
print(json.load(open("labels.json", encoding="utf-8"))[probabilities.argmax()])
"""


def write(run: Run, advice: dict[str, Any], command: str) -> None:
    """Write README.md into the folder of a finished run.

    Args:
        run: finished.
        advice: as `Recommendation.to_json` returns it.
        command: that makes the same model again.
    """
    with replacing(run.folder / "README.md") as unfinished:
        unfinished.write_text(text(run, advice, command), encoding="utf-8")


def text(run: Run, advice: dict[str, Any], command: str) -> str:
    """The card in Markdown."""
    metrics, data, settings = run.metrics, advice["dataset"], run.metrics["settings"]
    test = metrics["test"]
    low, high = wilson_interval(test["accuracy"], len(run.test_labels))
    name = _plain(data["source"].rstrip("/").rpartition("/")[2] or data["source"])
    shown = list(test["per_class"].items())[:MOST_CLASSES]
    classes = "\n".join(
        f"| {_plain(label)} | {row['images']:,} | {row['precision']:.3f} | {row['recall']:.3f} "
        f"| {row['f1']:.3f} |"
        for label, row in shown
    )
    more = len(test["per_class"]) - len(shown)
    copies = "".join(f" {line}." for line in near_copies_told(metrics))
    splits = ", ".join(f"{count:,} {split}" for split, count in metrics["images"].items())
    limits = "\n".join(f"- {limit}" for limit in _limits(run, advice))
    steps = "\n".join(f"- {key}: {_plain(value)}" for key, value in plan.words(advice) if key != "time")
    versions = ", ".join(f"{package} {version}" for package, version in metrics["versions"].items())
    return f"""{_front_matter(name, test)}
# {name}: {run.recipe}

Classifies images into {len(run.class_names):,} classes. Made by Transfer Advisor: {WHAT[run.recipe]}.

## Use

In plain Keras, in the folder of this file:

```python
{LOADING.format(size=settings["image_size"])}```

The model takes RGB pixels 0..255 of {settings["image_size"]} x {settings["image_size"]}, as `uint8` or \
`float32`; the preprocessing is inside.

## Metrics

On {len(run.test_labels):,} test images that neither trained nor chose the model: accuracy \
**{test["accuracy"]:.1%}** (95 % interval {low:.1%} to {high:.1%}), macro F1 {test["macro_f1"]:.3f}, \
log-loss {test["log_loss"]:.3f}. Validation accuracy {metrics["validation"]["accuracy"]:.1%}.{copies}

| Class | Test images | Precision | Recall | F1 |
|---|---:|---:|---:|---:|
{classes}
{f"{chr(10)}{more:,} more classes are in `metrics.json`.{chr(10)}" if more else ""}
![Confusion matrix](confusion_matrix.png)

## Data

{name}: {sum(metrics["images"].values()):,} images ({splits}). Similarity to \
{_plain(advice["similarity"]["reference"])}: {advice["similarity"]["score"]:.2f} of 1. \
Fingerprint `{advice["reproduction"]["data"]}`.

## Training

{steps}

Trained on {_plain(metrics["device"])} in {plan.duration(metrics["seconds"]["total"])}, seed \
{metrics["seed"]}; {versions}.

```
{legible(command)}
```

## Limits

{limits}
"""


def _front_matter(name: str, test: dict[str, Any]) -> str:
    """YAML; strings are quoted as JSON does, which YAML reads. Which licence fits only its user knows."""
    return f"""---
library_name: keras
pipeline_tag: image-classification
# license: yours to choose; that of the images and of the backbone's weights may limit the choice
tags:
- image-classification
- transfer-learning
model-index:
- name: {json.dumps(name, ensure_ascii=False)}
  results:
  - task:
      type: image-classification
    dataset:
      name: {json.dumps(name, ensure_ascii=False)}
      type: {json.dumps(name, ensure_ascii=False)}
    metrics:
    - type: accuracy
      value: {test["accuracy"]:.4f}
    - type: f1
      name: Macro F1
      value: {test["macro_f1"]:.4f}
---
"""


def _limits(run: Run, advice: dict[str, Any]) -> list[str]:
    weakest, row = min(run.metrics["test"]["per_class"].items(), key=lambda item: item[1]["recall"])
    return [
        "It knows these classes only: to an image of anything else it gives one of their names.",
        f"Weakest on {_plain(weakest)}: {row['recall']:.0%} of its {row['images']:,} test images found.",
        "The metrics hold for images taken as these were; another camera, place or time may do worse.",
        "Images are cut to their central square; what lies outside is not seen.",
        *(_plain(warning) for warning in advice["warnings"]),
    ]


def _plain(value: object) -> str:
    """On one line and without what Markdown or HTML would read as markup."""
    kept = legible(value).replace("`", "'").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "|*[]" else c for c in kept)
