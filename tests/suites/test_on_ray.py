"""A suite on a real Ray cluster: a task a run, the rows of one process, and nothing done twice."""

import os

import pytest
import torch
import yaml

from hidiff.recipe import write_recipe
from hidiff.suites import list_runs, read_results, read_suite, run_suite
from hidiff.suites.on_ray import run_suite_on_ray
from hidiff.suites.rows import MEASURED
from tests.tiny import make_tiny

ray = pytest.importorskip("ray")

CPU = torch.device("cpu")
BY = ("data", "arm", "seed", "evaluation")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def suite(tmp_path):
    """A recipe of three names: runs share a folder and a stage 1, and a seed takes a rate over."""
    write_recipe(make_tiny(tmp_path), tmp_path / "tiny.yaml")
    arms = ["segmentor_only", "hybrid"]
    content = {
        "name": "tiny_suite",
        "arms": dict.fromkeys(arms),
        "recipes": {
            "curves": {"recipe": "tiny.yaml", "arms": arms},
            "the same": {"recipe": "tiny.yaml", "arms": ["hybrid"]},
            "rates": {
                "recipe": "tiny.yaml",
                "seeds": [0, 1],
                "arms": ["segmentor_only"],
                "rates": [1e-4, 0.05],
            },
        },
    }
    file = tmp_path / "tiny_suite.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return list_runs(read_suite(file), file, lambda path: path)


def unmeasured(results):
    rows = [{k: v for k, v in row.items() if k not in MEASURED} for row in results.rows]
    return sorted(rows, key=lambda row: [str(row[name]) for name in BY])


def test_the_rows_are_those_of_one_process_and_nothing_is_done_twice(suite, cluster, tmp_path):
    said = []
    many = read_results(tmp_path / "many")
    failures = run_suite_on_ray(ray, suite, many, tmp_path / "runs", CPU, 1, said.append)
    assert failures == []
    assert len(many.rows) == 3 + 3 + 1
    assert said[-1].endswith("1 new rows; 0 runs to go")

    torch.set_num_threads(1)
    one = read_results(tmp_path / "one")
    run_suite(suite, one, tmp_path / "runs_of_one", CPU, said.append)
    assert unmeasured(many) == unmeasured(one)

    said.clear()
    again = read_results(tmp_path / "many")
    assert run_suite_on_ray(ray, suite, again, tmp_path / "runs", CPU, 1, said.append) == []
    assert sorted(line.split(";")[0] for line in said) == sorted(
        f"{run.name}: done before" for run in suite
    )
