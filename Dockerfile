# Pagoda and all that it needs, from the locks in envs/: docker build -t pagoda .
# All of it in one:   docker run --rm -v "$PWD:/work" pagoda --cores all digits
# On a cluster, Snakemake outside and each job inside (docs/cluster.md):   apptainer build pagoda.sif docker-daemon:pagoda:latest
FROM python:3.12-slim-bookworm
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends fontconfig fonts-dejavu-core git make \
    && rm -rf /var/lib/apt/lists/*
COPY . /opt/pagoda
RUN make -C /opt/pagoda .venv/installed
ENV PATH=/opt/pagoda/.venv/bin:$PATH HOME=/tmp
WORKDIR /work
ENTRYPOINT ["snakemake", "--snakefile", "/opt/pagoda/workflow/Snakefile"]
