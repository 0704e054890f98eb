rule fetch:
    output:
        data="results/{experiment}/fetch/dataset.json",
        arrays=expand(
            "results/{{experiment}}/fetch/{split}_{what}.npy",
            split=["train", "test"],
            what=["images", "labels"],
        ),
    log:
        "results/{experiment}/logs/fetch.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(8000),
        runtime=120,
    params:
        flags=lambda wildcards: flags(**experiment_of(wildcards).dataset.values()),
        classes=lambda wildcards: class_list(wildcards.experiment),
        code=code_of("steps.fetch"),
    shell:
        "python -m steps.fetch --out {output.data:q} {params.flags} --code {params.code} --log {log:q}"
