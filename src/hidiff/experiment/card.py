"""The card of a model, in Markdown, for the Hugging Face hub: made from what its file says."""

import yaml

from hidiff.experiment.models import ModelFile

TEMPLATE = """---
{head}---

# {name}

Segments {classes}. Takes {takes}.
{notice}
## Use

```
pip install 'hidiff[hub]'
hidiff predict {address} IMAGE --output masks
```

```python
import hidiff

result = hidiff.load("{address}").predict("IMAGE")
result.labels, result.probability, result.uncertainty, result.prior
```

Only `model.safetensors` and `config.json` are read; nothing in them runs.

## Data

{data}

## Training

HiDiff {version}: segmentor `{segmentor}`, {refiner}, patches of {patch}, batches of {batch}. The
checkpoint is of step {step} of {stage}. It takes {steps} of T = {num_steps} steps, and {samples}
sample(s). `config.json` holds every setting of the recipe.

## Results

Not written yet: `hidiff evaluate {address} --data IMAGES` measures them, with intervals. Say on
whose images, and that none of them was trained or chosen on.

## Limits

For research, not a medical device: nobody's diagnosis may rest on it. Images of other cameras,
scanners and people than those it was trained on were not looked at.

The method: Chen et al., HiDiff: Hybrid Diffusion Framework for Medical Image Segmentation, IEEE
Transactions on Medical Imaging, 2024 ([arXiv:2407.03548](https://arxiv.org/abs/2407.03548)).
"""


def write_card(file: ModelFile, address: str, licence: str = "") -> str:
    """Return the card of a model of your own; `address` is USER/NAME.

    Its figures are those of the file. What only people know (whose images, results) it asks for.
    """
    recipe, settings = file.recipe, file.recipe.refiner
    head = {
        "library_name": "hidiff",
        "pipeline_tag": "image-segmentation",
        **({"license": licence} if licence else {}),
        "tags": ["medical", "segmentation", "diffusion"],
    }
    channels = {1: "grey images", 3: "colour images"}.get(recipe.data.channels)
    refiner = "without a refiner"
    if file.refines:
        refiner = f"refiner {settings.precision} of width {settings.width}"
    notice = file.metadata.get("notice", "")
    return TEMPLATE.format(
        head=yaml.safe_dump(head, sort_keys=False),
        name=address.rpartition("/")[2],
        address=address,
        classes=", ".join(recipe.labels.class_names),
        takes=channels or f"images of {recipe.data.channels} channels",
        notice=f"\n> {notice}\n" if notice else "",
        data=f"`{recipe.data.source}`, from the folder `{recipe.data.path}`. "
        "Say here whose images they are, and under which licence.",
        version=file.metadata.get("hidiff_version", ""),
        segmentor=recipe.segmentor.name,
        refiner=refiner,
        patch="x".join(map(str, recipe.data.patch_size)),
        batch=recipe.training.batch_size,
        step=file.metadata.get("step", "?"),
        stage=file.metadata.get("stage", "its training"),
        steps=recipe.prediction.steps_of(recipe.diffusion.num_steps) if file.refines else 0,
        num_steps=recipe.diffusion.num_steps,
        samples=recipe.prediction.samples,
    )
