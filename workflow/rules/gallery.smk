rule gallery:
    input:
        ascents=page_ascents,
        measures=lambda wildcards: files_of(wildcards, "align", "csv", experiment_of(wildcards).views),
        summary=rules.align_summary.output.table,
        differences=rules.align_summary.output.differences,
        certified=certified_table,
        headline="results/{experiment}/montage/headline.png",
    output:
        page=report(
            "results/{experiment}/index.html",
            caption="../report/gallery.rst",
            category="4 Page",
            subcategory="{experiment}",
            labels={"page": "every ascent step by step, and a blind test"},
        ),
        sheets=directory("results/{experiment}/sheets"),
    log:
        "results/{experiment}/logs/gallery.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=lambda wildcards, input: 30 + len(input.ascents) // 50,
    params:
        ascents=lambda wildcards, input: listed(input.ascents),
        flags=gallery_flags,
        page=page_hash(),
        code=code_of("steps.gallery"),
    shell:
        "python -m steps.gallery --ascents {params.ascents} --measures {input.measures:q} --summary {input.summary:q}"
        " --differences {input.differences:q} --certified {input.certified:q} --headline {input.headline:q}"
        " --out {output.page:q} {params.flags} --code {params.code} --log {log:q}"
