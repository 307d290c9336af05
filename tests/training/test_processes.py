"""Two processes under torchrun: one model, one writer."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from hidiff import build, weights
from hidiff.recipe import write_recipe
from tests.tiny import make_tiny, same_tensors

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path

import torch

from hidiff import build
from hidiff.recipe import read_recipe
from hidiff.training import Budget
from hidiff.weights import save

torch.set_num_threads(1)
build.count_flops = lambda *_: Budget(1, 3)
folder = Path(sys.argv[1])
trainer = build.make_trainer(read_recipe(folder / "recipe.yaml"), folder / "run", cpu=True)
(folder / "run").mkdir(exist_ok=True)
trainer.run()
rank = trainer.accelerator.process_index
assert trainer.accelerator.num_processes == 2
networks = {"segmentor": trainer.hybrid.segmentor, "refiner": trainer.hybrid.refiner}
weights = {
    f"{name}.{key}": value for name, net in networks.items() for key, value in net.named_parameters()
}
save(folder / f"rank{rank}.safetensors", weights, {"silent": str(trainer.log.silent)})
torch.distributed.destroy_process_group()
"""


def test_two_processes_train_one_model_and_one_writes(tmp_path):
    training = {"batch_size": 4, "stage1_steps": 2, "stage2_steps": 2}
    recipe = make_tiny(tmp_path, training=training, prediction={"steps": 1})
    write_recipe(recipe, tmp_path / "recipe.yaml")
    (tmp_path / "program.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    result = subprocess.run(
        [*torchrun, "--master_port", "0", str(tmp_path / "program.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    (first, first_words), (second, second_words) = (
        weights.load(tmp_path / f"rank{rank}.safetensors") for rank in range(2)
    )
    assert same_tensors(first, second)
    assert (first_words["silent"], second_words["silent"]) == ("False", "True")

    start = dict(build.make_hybrid(recipe).named_parameters())
    assert not any(torch.equal(start[name], first[name]) for name in start if "weight" in name)
    rows = [json.loads(line) for line in open(tmp_path / "run" / "metrics.jsonl")]
    steps = [(row["stage"], row["step"]) for row in rows if row["kind"] == "train"]
    assert steps == [("stage1", 1), ("stage1", 2), ("in_turns", 1), ("in_turns", 2)]
    written, _ = weights.load(tmp_path / "run" / "last.safetensors")
    for name, value in first.items():
        if name.startswith("segmentor."):
            assert torch.equal(written[name], value)
    assert build.load(tmp_path / "run").refines
