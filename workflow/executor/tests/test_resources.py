"""What rules ask for, and what SLURM is asked for."""

import pytest
from snakemake_executor_plugin_submitit import clusters, slurm
from snakemake_executor_plugin_submitit.resources import BadResource, sbatch_options, shared_name


def test_resources_become_what_sbatch_takes():
    asked = {
        "runtime": 90,
        "mem_mb": 2500,
        "gpu": 2,
        "gpu_model": "a100",
        "slurm_partition": "long",
        "slurm_account": "me",
    }
    found = sbatch_options(asked | {"slurm_extra": "--exclude=n1 --exclusive", "speed": "--batch=3"}, threads=4)
    assert found == {
        "time": 90,
        "cpus-per-task": 4,
        "mem": "2500M",
        "partition": "long",
        "account": "me",
        "exclude": "n1",
        "exclusive": True,
        "gpus-per-node": "a100:2",
    }
    assert sbatch_options({"cpus_per_task": 8, "mem_mb_per_cpu": 100}, threads=1)["mem-per-cpu"] == "100M"
    assert sbatch_options({"mem_mb": 0}, threads=1)["mem"] == "0M"  # all of the node's
    assert sbatch_options({"tasks": 6}, threads=1) == {"time": 60, "cpus-per-task": 1, "ntasks": 6}  # on any nodes
    assert sbatch_options({"clusters": "other"}, threads=1)["clusters"] == "other"
    # sbatch takes one or the other
    assert sbatch_options({"gpu": 1, "cpus_per_gpu": 4}, 1) == {"time": 60, "gpus-per-node": "1", "cpus-per-gpu": 4}


def test_what_a_person_has_set_for_all_submissions_holds_outside_of_a_job_where_the_job_says_nothing_else():
    habit = {"SBATCH_PARTITION": "debug", "SBATCH_ACCOUNT": "me", "SBATCH_TIMELIMIT": "1"}
    kept, (said,) = slurm.habits(habit)
    assert said.startswith("SBATCH_PARTITION=debug, SBATCH_ACCOUNT=me:")
    found = sbatch_options({"slurm_partition": "long"}, 1, kept)
    assert (found["partition"], found["account"], found["time"]) == ("long", "me", 60)
    dropped, (said,) = slurm.habits(habit | {"SLURM_JOB_ID": "7"})
    assert dropped == {} and said == "inside SLURM job 7: SBATCH_PARTITION=debug, SBATCH_ACCOUNT=me does not hold"
    assert slurm.habits({"SLURM_JOB_ID": "7"}) == ({}, [])


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ("-G 1", {"gpus": "1"}),
        ("-G1 -x n[1-2] --exclusive", {"gpus": "1", "exclude": "n[1-2]", "exclusive": True}),
        ("--nodes 2 -p=long -H", {"nodes": "2", "partition": "long", "hold": True}),
        ("--comment='two words'", {"comment": "two words"}),
        ("-M other", {"clusters": "other"}),
    ],
)
def test_further_options_go_by_their_long_names(extra, found):
    assert sbatch_options({"slurm_extra": extra}, threads=1) == {"time": 60, "cpus-per-task": 1} | found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"runtime": "soon"}, "runtime=soon: must be a whole number, at least 1"),
        ({"runtime": 0}, "runtime=0"),
        ({"mem_mb": -5}, "mem_mb=-5: must be a whole number, at least 0"),
        ({"gpu": -1}, "gpu=-1: must be a whole number, at least 0"),
        ({"gpu": 1, "gres": "gpu:1"}, "gpu=1 and gres=gpu:1: ask for GPUs by one of them"),
        ({"gpu_model": "a100"}, "gpu_model=a100 without gpu"),
        ({"slurm_extra": "exclusive"}, "slurm_extra='exclusive': 'exclusive' is no option"),
        ({"slurm_extra": "-G 1", "gpu": 1}, "--gpus beside gpu=1"),
        ({"slurm_extra": "-x n1 --exclude=n2"}, "--exclude stands twice"),
        ({"slurm_extra": "-p a", "slurm_partition": "b"}, "--partition beside the resource that says b"),
        ({"slurm_extra": "-t 5"}, "give --time as the resource runtime"),
        ({"slurm_extra": "-a 1-3"}, "--array is set by this executor"),
        ({"slurm_partion": "long"}, "slurm_partion=long: unknown; is slurm_partition meant?"),
        ({"tasks": -1}, "tasks=-1: must be a whole number, at least 1"),
        ({"slurm_extra": "--cpus-per-gpu=4", "cpus_per_task": 2}, "cpus_per_task=2 beside cpus_per_gpu"),
        ({"nodes": 0}, "nodes=0: must be a whole number, at least 1"),
        ({"mem_mb_per_cpu": 0}, "mem_mb_per_cpu=0: must be a whole number, at least 1"),
        ({"slurm_qos": "a", "qos": "b"}, "qos=b beside another resource that says a"),
        ({"slurm_extra": "--mem-per-gpu=2G", "mem_mb": 1}, "--mem-per-gpu beside mem_mb"),
        ({"slurm_extra": "--comment=it's"}, "No closing quotation"),
    ],
)
def test_bad_resources_are_one_line(asked, said):
    with pytest.raises(BadResource, match=said):
        sbatch_options(asked, threads=1)


def test_an_array_is_named_for_what_its_jobs_share():
    jobs = [{"model": "gaussian-0.5", "target": f"it's {k}"} for k in range(3)]
    assert shared_name("ascend", jobs) == "ascend:model=gaussian-0.5:target=*"
    assert shared_name("ascend", jobs[:1]) == "ascend:model=gaussian-0.5:target=it_s_0"
    assert shared_name("all", [{}, {}]) == "all"


def test_settings_out_of_range_are_named():
    assert clusters.ExecutorSettings().faults() == []
    settings = clusters.ExecutorSettings(poll_seconds=0, max_array_size=-1, max_timeouts=0, keep_days=-2)
    assert settings.faults() == [
        "--submitit-max-array-size -1: must be at least 1",
        "--submitit-poll-seconds 0: must be at least 1",
        "--submitit-keep-days -2: must be at least 0",
    ]
