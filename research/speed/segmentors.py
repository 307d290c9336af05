"""What does each segmentor cost, as it comes? Writes the table of docs/segmentors.md.

    python research/speed/segmentors.py [--only NAME ...] [--rounds 5] [--threads 1]

Segmentors whose library is not installed keep the row of an earlier run: run it in each environment
of an extra, or once where all are installed. Those without a row say so. Milliseconds are processor
time of one image without gradients, the median of the rounds: rough, as other work on the machine
still fills its caches. Multiply-adds are half of what torch.utils.flop_counter counts.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hidiff.segmentors import SEGMENTORS, HookedSegmentor, SegmentorSettings, make_segmentor
from hidiff.segmentors.torchvision_operators import declare_torchvision_operators
from hidiff.weights import atomic_write

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `research` is
from research.timing import in_turn, machine

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "segmentors.md"
RESULTS = Path(__file__).parent / "results" / "segmentors.json"
SIZE = (256, 256)

# Of the code, by the name's first word; weights that others trained have licences of their own.
LIBRARIES = {
    "efficientnet_lite0_unet": ("ours, after MONAI", "Apache-2.0"),
    "efficientnet_lite0_fpn": ("ours, after MONAI", "Apache-2.0"),
    "merit": ("timm, and ours", "Apache-2.0"),
    "monai": ("MONAI", "Apache-2.0"),
    "nnunet": ("dynamic-network-architectures", "Apache-2.0"),
    "smp": ("segmentation-models-pytorch", "MIT"),
    "timm": ("timm, and ours", "Apache-2.0"),
    "transformers": ("transformers", "Apache-2.0"),
    "unet": ("ours, after MONAI", "Apache-2.0"),
}
UNMEASURED = {"nnunet": ("as trained",) * 4}  # it comes from a folder, and has no defaults
HEADINGS = (
    "name", "library", "parameters, M", f"GMACs at {SIZE[0]}x{SIZE[1]}", "ms", "feature channels",
    "licence",
)  # fmt: skip


def measure(name: str, rounds: int) -> dict[str, object]:
    """A row of the table, of a segmentor's defaults for three channels and one class."""
    settings = SegmentorSettings(name=name)
    segmentor = make_segmentor(settings, 3, 1).eval()
    image = torch.randn(1, 3, *SIZE)

    @torch.inference_mode()
    def run() -> None:
        segmentor(image)

    return {
        "parameters": sum(p.numel() for p in segmentor.parameters()),
        "gmacs": count_macs(segmentor, image) / 1e9,
        "milliseconds": 1e3 * in_turn({name: run}, rounds, clock=time.process_time)[name],
        "feature_channels": list(segmentor.feature_channels),
    }


def count_macs(segmentor: HookedSegmentor, image: torch.Tensor) -> float:
    """Multiply-adds of convolutions and matrix products."""
    # torch's counter knows nothing of the CPU's fused attention, but its matrix products one by one
    attention = sdpa_kernel(SDPBackend.MATH)
    with torch.inference_mode(), attention, FlopCounterMode(display=False) as counter:
        segmentor(image)
    return counter.get_total_flops() / 2


def make_table(rows: dict[str, dict]) -> str:
    """A line for every segmentor, whether it was measured or not."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|---:|---:|---:|---|---|"]
    for name in SEGMENTORS:
        library, licence = LIBRARIES[name.split(".")[0]]
        found = (
            describe(rows[name]) if name in rows else UNMEASURED.get(name, ("not measured",) * 4)
        )
        lines.append(f"| {' | '.join((f'`{name}`', library, *found, licence))} |")
    return "\n".join(lines)


def describe(row: dict) -> tuple[str, str, str, str]:
    """Return the measurements as text."""
    return (
        f"{row['parameters'] / 1e6:.1f}",
        f"{row['gmacs']:.1f}",
        f"{row['milliseconds']:.0f}",
        ", ".join(map(str, row["feature_channels"])),
    )


def write_page(rows: dict[str, dict], on: dict[str, str | int]) -> None:
    """Replace what stands between the page's two marks."""
    threads = "one thread" if on["threads"] == 1 else f"{on['threads']} threads"
    caption = f"Measured on {threads} of a shared {on['processor']}, torch {on['torch']}."
    page = PAGE.read_text(encoding="utf-8")
    page, count = re.subn(
        r"(<!-- table -->\n).*?(<!-- end of table -->)",
        rf"\g<1>{make_table(rows)}\n\n{caption}\n\2",
        page,
        flags=re.S,
    )
    assert count == 1, f"{PAGE} lacks the marks of the table"
    with atomic_write(PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(SEGMENTORS), choices=list(SEGMENTORS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    declare_torchvision_operators()
    former = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    rows, on = former.get("rows", {}), machine()
    for name in args.only:
        try:
            rows[name] = measure(name, args.rounds)
        except ValueError as error:
            print(f"{name}: left as it was, {error}")
            continue
        print(name, rows[name], flush=True)
        with atomic_write(RESULTS) as temporary:
            temporary.write_text(json.dumps({"machine": on, "rows": rows}, indent=2) + "\n")
        write_page(rows, on)


if __name__ == "__main__":
    main()
