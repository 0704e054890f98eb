rule train:
    input:
        data=rules.fetch.output.data,
        arrays=rules.fetch.output.arrays,
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
    threads: threads_of
    resources:
        speed=speed_of("train"),
        gpu=1,
        mem_mb=growing(8000),
        runtime=240,
    params:
        flags=train_flags,
        code=fingerprint("steps.train"),
    shell:
        "python -m steps.train --data {input.data:q} --out {output.model:q} {params.flags}"
        " {resources.speed} --code {params.code} --log {log:q}"
