rule predict:
    input:
        model=rules.train.output.model,
        data=rules.fetch.output.data,
        arrays=rules.fetch.output.arrays,
    output:
        table="results/{experiment}/predict/{model}/sigma={sigma}.tsv",
        facts="results/{experiment}/predict/{model}/sigma={sigma}.json",
    log:
        "results/{experiment}/logs/predict/{model}/sigma={sigma}.log",
    benchmark:
        "results/{experiment}/benchmarks/predict/{model}/sigma={sigma}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: threads_of
    resources:
        speed=speed_of("predict"),
        gpu=1,
        mem_mb=growing(8000),
        runtime=60,
    params:
        flags=predict_flags,
        code=code_of("steps.predict"),
    shell:
        "python -m steps.predict --model {input.model:q} --data {input.data:q} --out {output.table:q} {params.flags}"
        " {resources.speed} --code {params.code} --log {log:q}"
