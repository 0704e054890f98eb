# A model is trained, from random weights or from another's (`init`), or imported where the config names a checkpoint (the
# step is import_model), or fitted (fit_bayes).
rule train:
    input:
        data=rules.fetch.output.data,
        arrays=rules.fetch.output.arrays,
        checkpoint=lambda wildcards: getattr(model_of(wildcards).checkpoint, "files", []),
        init=lambda wildcards: [
            f"results/{wildcards.experiment}/train/{name}/model.safetensors"
            for name in filter(None, [model_of(wildcards).init])
        ],
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
        speed=lambda wildcards: speed_of("train")(wildcards) if train_step(wildcards) == "train" else "",
        gpu=spread_over("gpus"),
        nodes=spread_over("nodes"),
        mem_mb=growing(8000, spread_over("gpus")),
        runtime=240,
    params:
        step=train_step,
        flags=train_flags,
        init=lambda wildcards, input: flags(init=str(input.init) or None),
        code=lambda wildcards: fingerprint(f"steps.{train_step(wildcards)}"),
        factory=factory_code,
    shell:
        "{resources.launch} steps.{params.step} --data {input.data:q} --out {output.model:q} {params.flags}"
        " {params.init} {resources.speed} --code {params.code} --log {log:q}"
