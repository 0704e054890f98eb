rule raters:
    input:
        page=rules.gallery.output.page,
        answers=rater_files,
    output:
        report(
            "results/{experiment}/raters.md",
            caption="../report/raters.rst",
            category="3 Tables",
            subcategory="{experiment}",
            labels={"table": "what people see, beside the judges"},
        ),
    log:
        "results/{experiment}/logs/raters.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=code_of("steps.raters"),
    shell:
        "python -m steps.raters --page {input.page:q} --answers {input.answers:q} --out {output:q}"
        " --code {params.code} --log {log:q}"
