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
    f"{name}.{key}": value
    for name, network in networks.items()
    for key, value in network.named_parameters()
}
save(folder / f"rank{rank}.safetensors", weights, {"silent": str(trainer.log.silent)})
torch.distributed.destroy_process_group()
"""


def run_torch(program, *arguments):
    """The program in two processes; it must end well."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, str(program), *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            _, errors = process.communicate(timeout=300)
        finally:
            process.terminate()  # not kill: torchrun then ends its workers, too
    assert process.returncode == 0, errors[-3000:]


def test_two_processes_train_one_model_and_one_writes(tmp_path):
    training = {"batch_size": 4, "stage1_steps": 2, "stage2_steps": 2}
    recipe = make_tiny(tmp_path, training=training, prediction={"steps": 1})
    write_recipe(recipe, tmp_path / "recipe.yaml")
    (tmp_path / "program.py").write_text(PROGRAM)
    run_torch(tmp_path / "program.py", tmp_path)
    (first, first_words), (second, second_words) = (
        weights.load(tmp_path / f"rank{rank}.safetensors") for rank in range(2)
    )
    assert same_tensors(first, second)
    assert (first_words["silent"], second_words["silent"]) == ("False", "True")

    start = dict(build.make_hybrid(recipe).named_parameters())
    assert not any(torch.equal(start[name], first[name]) for name in start if "weight" in name)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    steps = [(row["stage"], row["step"]) for row in rows if row["kind"] == "train"]
    assert steps == [("stage1", 1), ("stage1", 2), ("in_turns", 1), ("in_turns", 2)]
    written, _ = weights.load(tmp_path / "run" / "last.safetensors")
    for name, value in first.items():
        if name.startswith("segmentor."):
            assert torch.equal(written[name], value)
    assert build.load(tmp_path / "run").refines
