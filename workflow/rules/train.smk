# A model is trained, or imported where the config names a checkpoint: then the step is import_model.


def launch(wildcards):
    """Return what starts a training: Python, or torchrun with a process for each GPU, on each node of a SLURM job."""
    gpus, nodes = (spread_over(name)(wildcards) for name in ("gpus", "nodes"))
    if gpus * nodes == 1:
        return "python -m"
    torchrun, threads = f"torchrun --nproc-per-node={gpus}", f"exec env OMP_NUM_THREADS={threads_of(wildcards)}"
    if nodes == 1:
        return f"{threads} {torchrun} --standalone -m --"
    refusal = f"nodes is {nodes}, but this is no SLURM job: run with --profile slurm, or set nodes to 1"
    return (
        f': "${{SLURM_JOB_ID:?{refusal}}}"; {threads}'
        f" srun --overlap --input=none --nodes={nodes} --ntasks-per-node=1 --cpus-per-task=${{SLURM_CPUS_PER_TASK:-1}}"
        f" {torchrun} --nnodes={nodes} --rdzv-id=$SLURM_JOB_ID --rdzv-backend=c10d"
        " --rdzv-endpoint=$(hostname):$((20000 + RANDOM % 10000)) -m --"
    )


rule train:
    input:
        data=rules.fetch.output.data,
        arrays=rules.fetch.output.arrays,
        checkpoint=lambda wildcards: getattr(model_of(wildcards).checkpoint, "file", []),
    output:
        model="results/{experiment}/train/{model}/model.safetensors",
        history="results/{experiment}/train/{model}/history.csv",
        summary="results/{experiment}/train/{model}/summary.json",
    log:
        "results/{experiment}/logs/train/{model}.log",
    benchmark:
        "results/{experiment}/benchmarks/train/{model}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: threads_of(wildcards) * spread_over("gpus")(wildcards)  # each process has as many
    resources:
        launch=launch,
        speed=lambda wildcards: "" if model_of(wildcards).checkpoint else speed_of("train")(wildcards),
        gpu=spread_over("gpus"),
        nodes=spread_over("nodes"),
        mem_mb=growing(8000, spread_over("gpus")),
        runtime=240,
    params:
        step=train_step,
        flags=train_flags,
        code=lambda wildcards: fingerprint(f"steps.{train_step(wildcards)}"),
        factory=factory_code,
    shell:
        "{resources.launch} steps.{params.step} --data {input.data:q} --out {output.model:q} {params.flags}"
        " {resources.speed} --code {params.code} --log {log:q}"
