"""Tables of docs/correction.md and docs/kernels.md: milliseconds of corrections and of kernels."""

from collections.abc import Mapping
from typing import Any

from hidiff.report.format import markdown

WIDTH = 32  # of the refiner whose corrections are shown
ON = 128, 256  # channels and size on which kernels are compared
TIMES_HEAD = ("image", "windows", "a mark: median", "95th percentile",
              "the first mark on a given mask", "the same after `prepare`")  # fmt: skip
KERNEL_HEAD = ("channels, size", "float32", "int8 (oneDNN)", "bits", "block, new memory",
               "block, memory used again", "share of peak (bits)")  # fmt: skip
COMPARED_HEAD = ("kernel", "peak, G/s: plain, carry-save", "bits, G/s", "share of peak",
                 "bits, times float32")  # fmt: skip


def corrections_table(result: Mapping[str, Any]) -> str:
    """Return milliseconds of a correction with a packed refiner, by sizes of image and window."""
    lines = []
    for row in sorted(result["measured"], key=lambda row: (row["window"], row["image"])):
        if (row["width"], row["kind"]) != (WIDTH, "packed"):
            continue
        later, prepared = row["later_ms"], row.get("prepared_ms")
        lines.append(
            (
                *(f"{row[name]}x{row[name]}" for name in ("image", "window")),
                *(f"{later[name]:.0f}" for name in ("cpu_median", "cpu_p95")),
                f"{row['first_ms']['cpu_median']:.0f}",
                f"{prepared['cpu_median']:.0f}" if prepared else "",
            )
        )
    return markdown(TIMES_HEAD, lines)


def kernels_table(result: Mapping[str, Any]) -> str:
    """Return milliseconds of convolutions, with the speed-up over float32, on one thread."""
    lines = []
    for row in sorted(result["threads_1"], key=lambda row: (row["channels"], row["size"])):
        took, times = row["milliseconds"], row["times_float32"]
        kinds = ("int8", "bits", "block", "block_again")
        lines.append(
            (
                f"{row['channels']}, {row['size']}x{row['size']}",
                f"{took['float32']:.0f}",
                *(f"{took[kind]:.1f} ({times[kind]:.1f})" for kind in kinds),
                f"{100 * row['bits_share_of_peak']:.0f} %",
            )
        )
    return markdown(KERNEL_HEAD, lines)


def kernels_compared(result: Mapping[str, Any]) -> str:
    """Return every kernel's speed on one processor, beside the most that it could reach."""
    lines = []
    for name, row in result["every_kernel_on_one_thread"].items():
        assert (row["channels"], row["size"]) == ON
        peak = result["peak_of_one_thread"][name]
        lines.append(
            (
                f"`{name}`",
                f"{peak['plain']:.0f}, {peak['carry_save']:.0f}",
                f"{row['giga_multiply_adds_per_second']['bits']:.0f}",
                f"{100 * row['bits_share_of_peak']:.0f} %",
                f"{row['times_float32']['bits']:.1f}",
            )
        )
    return markdown(COMPARED_HEAD, lines)
