rule ascend:
    input:
        model=rules.train.output.model,
        data=rules.fetch.output.data,
        arrays=rules.fetch.output.arrays,
    output:
        "results/{experiment}/ascend/{model}/sigma={sigma}{variant}/eps={eps}/class={target}.npz",
    log:
        "results/{experiment}/logs/ascend/{model}/sigma={sigma}{variant}/eps={eps}/class={target}.log",
    benchmark:
        "results/{experiment}/benchmarks/ascend/{model}/sigma={sigma}{variant}/eps={eps}/class={target}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: threads_of
    resources:
        speed=speed_of("ascend"),
        gpu=1,
        abreast=1,  # by it, slurm/config.yaml has the ascents of one job go one after another
        mem_mb=growing(6000),
        runtime=lambda wildcards, attempt: 10 * attempt,  # those of a bundle add up
    params:
        flags=ascend_flags,
        code=code_of("steps.ascend"),
    shell:
        "python -m steps.ascend --model {input.model:q} --data {input.data:q} --out {output:q} {params.flags}"
        " {resources.speed} --code {params.code} --log {log:q}"
