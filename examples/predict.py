"""A trained model in three lines of Python, and what its answer holds.

python examples/predict.py runs/drive eye.png
"""

import sys

import hidiff

model = hidiff.load(sys.argv[1])
result = model.predict(sys.argv[2], samples=4)
print(f"labels       {result.labels.shape}, {(result.labels > 0).mean():.1%} not background")

# All arrays are of the image's size; planes come first.
print(f"probability  {result.probability.shape}: mean of the samples, 0 to 1")
print(f"uncertainty  {result.uncertainty.shape}: its entropy in bits")
print(f"prior        {result.prior.shape}: what the segmentor said before the refinement")
