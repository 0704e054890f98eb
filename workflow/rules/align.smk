rule align:
    input:
        model=rules.train.output.model,
        judge="results/{experiment}/train/judge/model.safetensors",
        reference="results/{experiment}/train/reference/model.safetensors",
        data=rules.fetch.output.data,
        arrays=rules.fetch.output.arrays,
        ascents=view_ascents,
        blur_to=blurred_to,
    output:
        table="results/{experiment}/align/{model}/sigma={sigma}{start}.csv",
        facts="results/{experiment}/align/{model}/sigma={sigma}{start}.json",
        gradients="results/{experiment}/align/{model}/sigma={sigma}{start}.npz",
    log:
        "results/{experiment}/logs/align/{model}/sigma={sigma}{start}.log",
    benchmark:
        "results/{experiment}/benchmarks/align/{model}/sigma={sigma}{start}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: threads_of
    resources:
        speed=speed_of("align"),
        gpu=1,
        mem_mb=growing(6000),
        runtime=60,
    params:
        ascents=lambda wildcards, input: listed(input.ascents),
        blur_to=lambda wildcards, input: flags(blur_to=list(input.blur_to)),
        flags=align_flags,
        code=code_of("steps.align"),
    shell:
        "python -m steps.align --model {input.model:q} --judge {input.judge:q} --reference {input.reference:q} --data {input.data:q} --ascents {params.ascents}"
        " {params.blur_to} --out {output.table:q} {params.flags} {resources.speed} --code {params.code} --log {log:q}"


rule align_summary:
    input:
        tables=lambda wildcards: files_of(wildcards, "align", "csv", experiment_of(wildcards).views),
        facts=lambda wildcards: files_of(wildcards, "align", "json", experiment_of(wildcards).views),
    output:
        table="results/{experiment}/align/summary.csv",
        differences="results/{experiment}/align/differences.csv",
        page=report(
            "results/{experiment}/align/summary.md",
            caption="../report/align_summary.rst",
            category="3 Tables",
            subcategory="{experiment}",
            labels={"table": "how well gradients align, and which hypotheses hold"},
        ),
    log:
        "results/{experiment}/logs/align_summary.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        flags=summary_flags,
        code=code_of("steps.align_summary"),
    shell:
        "python -m steps.align_summary --tables {input.tables:q} --out {output.table:q} {params.flags}"
        " --code {params.code} --log {log:q}"
