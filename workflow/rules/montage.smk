# Figures, one rule a design; {format} is png, pdf or svg. Their captions alone: md or tex.

for number, (kind, montage) in enumerate(MONTAGES.items(), start=1):
    path = f"results/{{experiment}}/montage/{montage.path}"
    made = {
        f"montage_{kind}": report(
            f"{path}.{{format}}",
            caption=f"../report/montage_{kind}.rst",
            category="1 Pictures",
            subcategory="{experiment}",
            labels={"figure": f"{number:02} {montage.title}"} | montage.labels | {"format": "{format}"},
        )
    }
    if kind != "animation":
        made[f"caption_{kind}"] = f"{path}.{{format,md|tex}}"
    for name, output in made.items():

        rule:
            name:
                name
            input:
                ascents=montage.ascents,
                measures=lambda wildcards, montage=montage: files_of(
                    wildcards, "align", "csv", montage.judged(wildcards)
                ),
            output:
                output,
            log:
                f"results/{{experiment}}/logs/montage/{montage.path}.{{format}}.log",
            conda:
                "../../envs/torch.yaml"
            resources:
                mem_mb=growing(2000),
                runtime=15,
            params:
                kind=kind,
                ascents=lambda wildcards, input: listed(input.ascents),
                code=code_of("steps.montage"),
            shell:
                "python -m steps.montage --kind {params.kind} --ascents {params.ascents} --measures {input.measures:q}"
                " --out {output:q} --code {params.code} --log {log:q}"


rule gradients:
    input:
        lambda wildcards: files_of(wildcards, "align", "npz", views_of(wildcards)),
    output:
        report(
            "results/{experiment}/gradients.{format}",
            caption="../report/gradients.rst",
            category="2 Curves",
            subcategory="{experiment}",
            labels={"figure": "4 gradients, and their power by frequency", "format": "{format}"},
        ),
    log:
        "results/{experiment}/logs/gradients.{format}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_of("steps.gradients"),
    shell:
        "python -m steps.gradients --gradients {input:q} --out {output:q} --code {params.code} --log {log:q}"


rule measures:
    input:
        summary=rules.align_summary.output.table,
    output:
        report(
            "results/{experiment}/measures.{format}",
            caption="../report/measures.rst",
            category="2 Curves",
            subcategory="{experiment}",
            labels={"figure": "1 the measures of alignment of every view", "format": "{format}"},
        ),
    log:
        "results/{experiment}/logs/measures.{format}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        epsilon=headline_epsilon,
        code=code_of("steps.measures"),
    shell:
        "python -m steps.measures --summary {input.summary:q} --epsilon {params.epsilon} --out {output:q}"
        " --code {params.code} --log {log:q}"


rule property:
    input:
        certificates=lambda wildcards: files_of(wildcards, "certify", "tsv", property_views(wildcards)),
        facts=lambda wildcards: files_of(wildcards, "certify", "json", property_views(wildcards)),
        measures=lambda wildcards: files_of(wildcards, "align", "csv", property_views(wildcards)),
        about=lambda wildcards: files_of(wildcards, "align", "json", property_views(wildcards)),
    output:
        figure=report(
            "results/{experiment}/property.png",
            caption="../report/property.rst",
            category="2 Curves",
            subcategory="{experiment}",
            labels={"figure": "3 alignment against certified accuracy, a point a model", "format": "png"},
        ),
        pdf="results/{experiment}/property.pdf",
        table="results/{experiment}/property.csv",
        correlations="results/{experiment}/property.correlations.csv",
        said="results/{experiment}/property.md",
    log:
        "results/{experiment}/logs/property.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        flags=property_flags,
        code=code_of("steps.property"),
    shell:
        "python -m steps.property --certificates {input.certificates:q} --measures {input.measures:q}"
        " --out {output.figure:q} {params.flags} --code {params.code} --log {log:q}"
