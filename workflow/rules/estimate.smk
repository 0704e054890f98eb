rule estimate:
    input:
        model=rules.train.output.model,
        ascents=swept_ascents_of_view,
    output:
        "results/{experiment}/estimate/{model}/sigma={sigma}.npz",
    log:
        "results/{experiment}/logs/estimate/{model}/sigma={sigma}.log",
    conda:
        "../../envs/torch.yaml"
    threads: threads_of
    resources:
        speed=lambda wildcards: flags(batch=experiment_of(wildcards).ascend.batch),
        gpu=1,
        mem_mb=growing(6000),
        runtime=15,
    params:
        code=fingerprint("steps.estimate"),
    shell:
        "python -m steps.estimate --model {input.model:q} --ascents {input.ascents:q} --out {output:q}"
        " {resources.speed} --code {params.code} --log {log:q}"
