"""A network that is trained already, refined without changing it.

python examples/own_segmentor.py mine weights.pt (mine/ holds images/ and masks/)
"""

import sys

import torch
from monai.networks.nets.attentionunet import AttentionUnet

import hidiff


def make() -> torch.nn.Module:
    """Whatever you have; here one of MONAI's networks, trained elsewhere."""
    return AttentionUnet(2, in_channels=3, out_channels=1, channels=(32, 64, 128), strides=(2, 2))


folder, weights = sys.argv[1:]
network = make()
network.load_state_dict(torch.load(weights, weights_only=True))
recipe = hidiff.Recipe(
    name="refined",
    data={"path": folder},
    labels={"kind": "one_class", "classes": {"object": (1, 255)}},
    training={"segmentor": "frozen"},
)
hidiff.train(recipe, "runs/refined", segmentor=network)
model = hidiff.load("runs/refined", segmentor=make())
print(model.predict(f"{folder}/images/a.png", samples=4).probability.shape)
