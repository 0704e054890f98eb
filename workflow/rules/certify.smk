# A table's images are spread over this many jobs: `--set-scatter certify=8`, or set-scatter in a profile.
scattergather:
    certify=1,


rule certify:
    input:
        model=rules.train.output.model,
        data=rules.fetch.output.data,
        arrays=rules.fetch.output.arrays,
    output:
        table="results/{experiment}/certify/{model}/sigma={sigma}/{scatteritem}.tsv",
        facts="results/{experiment}/certify/{model}/sigma={sigma}/{scatteritem}.json",
    log:
        "results/{experiment}/logs/certify/{model}/sigma={sigma}/{scatteritem}.log",
    benchmark:
        "results/{experiment}/benchmarks/certify/{model}/sigma={sigma}/{scatteritem}.tsv"
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
        shard=lambda wildcards: wildcards.scatteritem.replace("-of-", "/"),
        code=code_of("steps.certify"),
    shell:
        "python -m steps.certify --model {input.model:q} --data {input.data:q} --out {output.table:q} {params.flags}"
        " --shard={params.shard} {resources.speed} --code {params.code} --log {log:q}"


rule gather:
    input:
        tables=lambda wildcards: shards(wildcards, "tsv"),
        facts=lambda wildcards: shards(wildcards, "json"),
    output:
        table="results/{experiment}/certify/{model}/sigma={sigma}.tsv",
        facts="results/{experiment}/certify/{model}/sigma={sigma}.json",
    log:
        "results/{experiment}/logs/gather/{model}/sigma={sigma}.log",
    localrule: True  # a moment's work: on a cluster, the head does it
    conda:
        "../../envs/torch.yaml"
    params:
        code=code_of("steps.gather"),
    shell:
        "python -m steps.gather --tables {input.tables:q} --out {output.table:q} --code {params.code} --log {log:q}"


rule certified_accuracy:
    input:
        tables=lambda wildcards: files_of(wildcards, "certify", "tsv", experiment_of(wildcards).certified),
        facts=lambda wildcards: files_of(wildcards, "certify", "json", experiment_of(wildcards).certified),
    output:
        figure=report(
            "results/{experiment}/certified_accuracy.png",
            caption="../report/certified_accuracy.rst",
            category="2 Curves",
            subcategory="{experiment}",
            labels={"figure": "2 certified accuracy against radius", "format": "png"},
        ),
        pdf="results/{experiment}/certified_accuracy.pdf",
        table="results/{experiment}/certified_accuracy.csv",
        summary="results/{experiment}/certified_accuracy.summary.csv",
    log:
        "results/{experiment}/logs/certified_accuracy.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        flags=lambda wildcards: flags(published=experiment_of(wildcards).published),
        code=code_of("steps.certified_accuracy"),
    shell:
        "python -m steps.certified_accuracy --tables {input.tables:q} --out {output.figure:q} {params.flags}"
        " --code {params.code} --log {log:q}"
