MONTAGE = (
    "python -m steps.montage --kind {params.kind} --ascents {input:q} --out {output:q}"
    " --code {params.code} --log {log:q}"
)


rule montage_headline:
    input:
        headline_ascents,
    output:
        "results/{experiment}/montage/headline.png",
    log:
        "results/{experiment}/logs/montage/headline.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        kind="headline",
        code=fingerprint("steps.montage"),
    shell:
        MONTAGE


rule montage_eps:
    input:
        epsilon_ascents,
    output:
        "results/{experiment}/montage/eps={eps}.png",
    log:
        "results/{experiment}/logs/montage/eps={eps}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        kind="eps",
        code=fingerprint("steps.montage"),
    shell:
        MONTAGE


rule montage_class:
    input:
        class_ascents,
    output:
        "results/{experiment}/montage/class={target}.png",
    log:
        "results/{experiment}/logs/montage/class={target}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        kind="class",
        code=fingerprint("steps.montage"),
    shell:
        MONTAGE
