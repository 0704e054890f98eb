"""The workflow as a module of another, which lies in a folder of its own and has a config of its own."""

import yaml
from forked import snakemake

from tests.conftest import ROOT
from tests.workflow.test_digits import TINY, planned

OUTER = f"""
configfile: "mine.yaml"


module pagoda:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config["pagoda"]


use rule * from pagoda as pagoda_*


rule mine:
    input: "results/tiny/fetch/dataset.json"
    output: "mine.txt"
    shell: "cp {{input}} {{output}}"
"""


def test_another_workflow_uses_it_as_a_module(tmp_path):
    (tmp_path / "Snakefile").write_text(OUTER)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"pagoda": {"experiments": {"tiny": TINY}}}))
    jobs = planned(tmp_path, "results/tiny/montage/class=3.png")
    assert jobs == {"pagoda_fetch": 1, "pagoda_train": 2, "pagoda_ascend": 2, "pagoda_montage_class": 1}
    done = snakemake(tmp_path, "--cores", "1", "mine.txt", PAGODA_WARM="0")
    assert done.returncode == 0 and (tmp_path / "mine.txt").is_file(), done.stdout + done.stderr
