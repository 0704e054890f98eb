# An experiment's figures, tables and how they were made, as one archive: what goes beside a paper.


rule bundle:
    input:
        bundle_files,
    output:
        "results/{experiment}/bundle.zip",
    log:
        "results/{experiment}/logs/bundle.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        files=lambda wildcards, input: listed(input),
        about=about_bundle,
        code=code_of("steps.bundle"),
    shell:
        "python -m steps.bundle --files {params.files} --about {params.about:q} --out {output:q} --code {params.code}"
        " --log {log:q}"
