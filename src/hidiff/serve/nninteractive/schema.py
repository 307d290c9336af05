"""The bodies of nnInteractive's protocol, and the abilities that the server states."""

from typing import Annotated

from pydantic import BaseModel, Field

VERSION = 2  # of the inference session whose behaviour the clients expect

Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Sides = Annotated[list[int], Field(min_length=3, max_length=3)]
Boxes = Annotated[list[tuple[int, int]], Field(min_length=3, max_length=3)]


class Point(BaseModel):
    """A click."""

    coordinates: Annotated[list[Coordinate], Field(min_length=3, max_length=3)]
    include_interaction: bool
    run_prediction: bool = True


class Painted(BaseModel):
    """The facts that come with painted voxels."""

    include_interaction: bool
    run_prediction: bool = True
    interaction_bbox: Boxes | None = None


class Buffer(BaseModel):
    """The form of the client's copy of the mask."""

    shape: Sides
    dtype: str = Field(max_length=20)


class Seed(BaseModel):
    """The facts that come with a mask to start from."""

    run_prediction: bool = False


class ImageProperties(BaseModel):
    """The facts about an image."""

    spacing: Annotated[list[Coordinate], Field(min_length=3, max_length=3)] | None = None


class ImageMeta(BaseModel):
    """The facts that come with an image."""

    image_properties: ImageProperties = ImageProperties()


CAPABILITIES = {
    "supported_interactions": {
        "points": True,
        "scribble": True,
        "lasso": False,
        "bbox2d": False,
        "bbox3d": False,
    },
    # The local session's planes, which clients show but do not use.
    "channel_mapping": {"prev_seg": 0, "points": [1, 2], "scribble": [3, 4]},
    "num_interaction_channels": 5,
    "supports_initial_label": True,
    "supports_zero_shot_label_refinement": True,
    "preferred_scribble_thickness": [1, 3, 3],
    "interaction_decay": 1.0,
    "patch_size": None,
    "do_autozoom": False,
    "inference_session_version": VERSION,
    "license": "Apache-2.0; the model's own terms: hidiff info MODEL",
    "supports_undo": True,
}
