"""Segment a picture by an exported model: ONNX Runtime, NumPy and Pillow alone, no torch.

hidiff export vessels
python examples/onnx_only.py vessels.onnx eye.jpg mask.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

model, picture, mask = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED  # needs less memory
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
said = session.get_modelmeta().custom_metadata_map  # what the model says of itself
intensity, values = json.loads(said["intensity"]), json.loads(said["values"])
assert intensity["kind"] == "unit" and said["kind"] != "regions", "this example is for photographs"

opened = Image.open(picture).convert({"1": "L", "3": "RGB"}[said["channels"]])
height, width = json.loads(said["size"]) or (opened.height, opened.width)
bands = (Image.fromarray(np.asarray(band, np.float32)) for band in opened.split())
image = np.stack([band.resize((width, height), 2) for band in bands])
image *= 2 / intensity["full_scale"]
image -= 1  # black is -1, white is 1
(top, below), (left, right) = ((-n % 32 // 2, -n % 32 - -n % 32 // 2) for n in (height, width))
image = np.pad(image, [(0, 0), (top, below), (left, right)], mode="edge")

unmarked = np.zeros((1, len(json.loads(said["planes"])), *image.shape[1:]), np.float32)
given = {"image": image[None], "hints": unmarked}  # hints, where the model reads a person's marks
(planes,) = session.run(["probability"], {i.name: given[i.name] for i in session.get_inputs()})
planes = planes[0, :, top : top + height, left : left + width]
planes = np.stack([Image.fromarray(each).resize(opened.size, 2) for each in planes])
labels = planes.argmax(0) if said["kind"] == "exclusive" else (planes[0] >= 0.5).astype(int)
written = np.array([0, *(first for first, *_ in values.values())], np.uint8)
Image.fromarray(written[labels]).save(mask)
