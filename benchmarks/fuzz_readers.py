"""Can any bytes make a reader do other than read, or refuse in words?

    pip install atheris        # not a requirement of HiDiff
    python benchmarks/fuzz_readers.py CORPUS -max_total_time=3600 -max_len=4096

Atheris (libFuzzer) changes small files of every format, guided by the branches they reach in our
readers and Pillow's, numpy's and safetensors' Python code. An error other than DataError (images)
or ValueError (weights, recipes) is a finding: it stops with the file. CORPUS is a folder, filled
with
good files first if it is empty. The first byte chooses the reader.
"""

import contextlib
import io
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "numpy.lib", "hidiff"]):
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import save

    from hidiff import weights
    from hidiff.data import DataError, read_field_of_view, read_image, read_mask
    from hidiff.recipe import RecipeError, read_recipe

PLACE = Path(tempfile.mkdtemp(prefix="fuzz-"))
SUFFIXES = (".png", ".jpg", ".tif", ".gif", ".bmp", ".npy", ".npz")
RECIPE = "name: a\ndata: {path: x}\nlabels: {kind: one_class, classes: {a: [1]}}\n"


def read_one(content: bytes) -> None:
    """Read these bytes as the kind of file that the first of them names."""
    if not content:
        return
    kind, content = content[0] % (len(SUFFIXES) + 3), content[1:]
    if kind < len(SUFFIXES):
        path = PLACE / f"a{SUFFIXES[kind]}"
        path.write_bytes(content)
        for read in (lambda: read_image(path, 3), lambda: read_mask(path)):
            try:
                read()
            except DataError as error:
                assert path.name in str(error), error
        with contextlib.suppress(DataError):
            read_field_of_view(path)
        return
    suffix, read, wanted = (
        (".safetensors", weights.load, ValueError),
        (".pt", weights.load_foreign, ValueError),
        (".yaml", read_recipe, RecipeError),
    )[kind - len(SUFFIXES)]
    path = PLACE / f"a{suffix}"
    path.write_bytes(content)
    try:
        read(path)
    except wanted as error:
        assert path.name in str(error), error


def fill(corpus: Path) -> None:
    """A good small file of each kind."""
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    contents = []
    for format in ("PNG", "JPEG", "TIFF", "GIF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format)
        contents.append(buffer.getvalue())
    for write in (np.save, np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        write(buffer, pixels)
        contents.append(buffer.getvalue())
    contents.insert(7, contents.pop())  # the compressed npz is another npz
    contents.append(save({"a": torch.zeros(2)}, {"recipe": "{}"}))
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    contents += [buffer.getvalue(), RECIPE.encode()]
    kinds = [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9]
    for number, (kind, content) in enumerate(zip(kinds, contents, strict=True)):
        (corpus / f"good-{number}").write_bytes(bytes([kind]) + content)


def main() -> None:
    warnings.simplefilter("ignore")
    corpus = next((Path(word) for word in sys.argv[1:] if not word.startswith("-")), None)
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        if not any(corpus.iterdir()):
            fill(corpus)
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
