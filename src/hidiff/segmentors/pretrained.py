"""A segmentor's own checkpoint -> its network, with a report of what matched."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from hidiff import weights

# What is put before a network's names: by HiDiff's checkpoints, DataParallel, Lightning and others.
PREFIXES = ("", "segmentor.network.", "segmentor.", "module.", "model.", "network.", "net.")
MOST_SHOWN = 3  # names of each kind in a report
COUNTER = "num_batches_tracked"  # of batch norm, which older files lack and nothing here needs


@dataclass(frozen=True)
class Match:
    """The tensors of a file that fit those of a network, by the network's names."""

    found: Mapping[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    resized: list[str]

    @property
    def whole(self) -> bool:
        return not (self.missing or self.unexpected or self.resized)

    def __str__(self) -> str:
        wanted = len(self.found) + len(self.missing) + len(self.resized)
        parts = [f"{len(self.found)} of {wanted} tensors match"]
        for names, what in (
            (self.missing, "are missing in the file"),
            (self.unexpected, "of the file are unknown here"),
            (self.resized, "are of another shape"),
        ):
            if names:
                more = [f"and {len(names) - MOST_SHOWN} more"] if len(names) > MOST_SHOWN else []
                parts.append(f"{len(names)} {what} ({', '.join([*names[:MOST_SHOWN], *more])})")
        return ", ".join(parts)


def load_pretrained(segmentor: nn.Module, path: Path | str, partial: bool = False) -> Match:
    """Put a file's tensors into a segmentor: a HiDiff checkpoint's, or those of the bare network.

    All must fit, unless `partial`: then the rest stays as it is. Raises ValueError for a file that
    is not there, does not read, or does not fit, with what matched.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"segmentor.weights: there is no file {path.absolute()}. Put the trained weights there "
            "(.safetensors, .pt or .pth), or name their place; nothing is downloaded."
        )
    network = getattr(segmentor, "network", segmentor)
    match = best_match(network.state_dict(), weights.load_foreign(path))
    if not match.found or not (match.whole or partial):
        advice = "" if partial else ", or set segmentor.partial=true to load what fits"
        raise ValueError(
            f"segmentor.weights, {path}, do not fit {type(network).__name__}: {match}. Give the "
            f"segmentor.options that they were trained with{advice}."
        )
    network.load_state_dict(match.found, strict=False)
    return match


def best_match(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Match:
    """Return the match under the prefix that fits most tensors."""
    matches = [_match(wanted, _without(prefix, tensors)) for prefix in PREFIXES]
    return max(matches, key=lambda match: len(match.found))


def _match(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Match:
    both = [name for name in wanted if name in tensors]
    fitting = [name for name in both if wanted[name].shape == tensors[name].shape]
    return Match(
        found={name: tensors[name] for name in fitting},
        missing=[n for n in wanted if n not in tensors and not n.endswith(COUNTER)],
        unexpected=[name for name in tensors if name not in wanted],
        resized=[
            f"{name}: {tuple(tensors[name].shape)} there, {tuple(wanted[name].shape)} here"
            for name in both
            if name not in fitting
        ],
    )


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
