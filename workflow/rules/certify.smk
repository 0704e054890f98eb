rule certify:
    input:
        model=rules.train.output.model,
        data=rules.fetch.output.data,
        arrays=rules.fetch.output.arrays,
    output:
        table="results/{experiment}/certify/{model}/sigma={sigma}.tsv",
        facts="results/{experiment}/certify/{model}/sigma={sigma}.json",
    log:
        "results/{experiment}/logs/certify/{model}/sigma={sigma}.log",
    benchmark:
        "results/{experiment}/benchmarks/certify/{model}/sigma={sigma}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: threads_of
    resources:
        speed=speed_of("certify"),
        gpu=1,
        mem_mb=growing(8000),
        runtime=240,
    params:
        flags=certify_flags,
        code=fingerprint("steps.certify"),
    shell:
        "python -m steps.certify --model {input.model:q} --data {input.data:q} --out {output.table:q} {params.flags}"
        " {resources.speed} --code {params.code} --log {log:q}"


rule certified_accuracy:
    input:
        tables=lambda wildcards: certificates(wildcards, "tsv"),
        facts=lambda wildcards: certificates(wildcards, "json"),
    output:
        figure="results/{experiment}/certified_accuracy.png",
        table="results/{experiment}/certified_accuracy.csv",
    log:
        "results/{experiment}/logs/certified_accuracy.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=fingerprint("steps.certified_accuracy"),
    shell:
        "python -m steps.certified_accuracy --tables {input.tables:q} --out {output.figure:q}"
        " --code {params.code} --log {log:q}"
