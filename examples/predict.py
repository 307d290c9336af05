"""Segment an image with a trained model, write its masks, and show what a prediction holds.

python examples/predict.py vessels eye.png masks
"""

import sys

import hidiff

model = hidiff.load(sys.argv[1])
print(f"{model.name} takes {model.takes}")
output = sys.argv[3] if len(sys.argv) > 3 else None
result = hidiff.segment(sys.argv[2], model, output, samples=4)
print(f"labels       {result.labels.shape}, {(result.labels > 0).mean():.1%} not background")

# All arrays are of the image's size; planes come first.
print(f"probability  {result.probability.shape}: mean of the samples, 0 to 1")
print(f"uncertainty  {result.uncertainty.shape}: its entropy in bits")
print(f"prior        {result.prior.shape}: what the segmentor said before the refinement")
