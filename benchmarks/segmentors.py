"""What does each segmentor cost, as it comes? Writes the table of docs/segmentors.md.

    python benchmarks/segmentors.py [--only NAME ...] [--rounds 3] [--threads 1]

Segmentors whose library is not installed keep the row of an earlier run. Milliseconds are processor
time of one image without gradients, the median of the rounds: rough, as other work on the machine
still fills its caches. Multiply-adds are half of what torch.utils.flop_counter counts.
"""

import argparse
import json
import re
import time
from pathlib import Path

import torch
from timing import in_turn, machine
from torch.utils.flop_counter import FlopCounterMode

from hidiff.segmentors import SEGMENTORS, HookedSegmentor, SegmentorSettings, make_segmentor
from hidiff.segmentors.torchvision_operators import declare_torchvision_operators
from hidiff.weights import atomic_write

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "segmentors.md"
RESULTS = ROOT / "benchmarks" / "results" / "segmentors.json"
SIZE = (256, 256)

# Of the code, by the name's first word; weights that others trained have licences of their own.
LIBRARIES = {
    "efficientnet_lite0_unet": ("MONAI", "Apache-2.0"),
    "merit": ("timm, and ours", "Apache-2.0"),
    "monai": ("MONAI", "Apache-2.0"),
    "smp": ("segmentation-models-pytorch", "MIT"),
    "timm": ("timm, and ours", "Apache-2.0"),
    "transformers": ("transformers", "Apache-2.0"),
    "unet": ("MONAI", "Apache-2.0"),
}
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
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        segmentor(image)
    return counter.get_total_flops() / 2


def make_table(rows: dict[str, dict]) -> str:
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|---:|---:|---:|---|---|"]
    for name in [name for name in SEGMENTORS if name in rows]:
        row, (library, licence) = rows[name], LIBRARIES[name.split(".")[0]]
        lines.append(
            f"| `{name}` | {library} | {row['parameters'] / 1e6:.1f} | {row['gmacs']:.1f} "
            f"| {row['milliseconds']:.0f} | {', '.join(map(str, row['feature_channels']))} "
            f"| {licence} |"
        )
    return "\n".join(lines)


def put_into_page(table: str) -> None:
    """Replace what stands between the page's two marks."""
    page = PAGE.read_text(encoding="utf-8")
    page, count = re.subn(
        r"(<!-- table -->\n).*?(<!-- end of table -->)", rf"\g<1>{table}\n\2", page, flags=re.S
    )
    assert count == 1, f"{PAGE} lacks the marks of the table"
    with atomic_write(PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(SEGMENTORS), choices=list(SEGMENTORS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    declare_torchvision_operators()
    former = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    rows = former.get("rows", {})
    for name in args.only:
        try:
            rows[name] = measure(name, args.rounds)
        except ValueError as error:
            print(f"{name}: left as it was, {error}")
            continue
        print(name, rows[name], flush=True)
        with atomic_write(RESULTS) as temporary:
            temporary.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")
        put_into_page(make_table(rows))


if __name__ == "__main__":
    main()
