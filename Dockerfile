# The pipeline in a container, with or without a GPU (docker run --gpus all ...): the CUDA builds of torch also run on a CPU.
#
#   docker build -t absld .
#   docker run --rm -v "$PWD/out:/project/reports" absld repro

FROM python:3.12-slim-bookworm AS build
WORKDIR /project
RUN python -m venv /opt/absld && /opt/absld/bin/python -m pip install --no-cache-dir "uv>=0.9,<1"
COPY requirements.lock ./
RUN /opt/absld/bin/uv pip install --no-cache --python /opt/absld/bin/python --compile-bytecode --require-hashes -r requirements.lock
COPY . .
RUN /opt/absld/bin/uv pip install --no-cache --python /opt/absld/bin/python --no-deps --no-build-isolation -e . \
    && /opt/absld/bin/python -m dvc config --local core.no_scm true

FROM python:3.12-slim-bookworm
RUN useradd --create-home --uid 1000 absld
COPY --from=build /opt/absld /opt/absld
COPY --from=build --chown=absld:absld /project /project
ENV PATH=/opt/absld/bin:$PATH \
    DVC_NO_ANALYTICS=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /project
ENTRYPOINT ["absld"]
CMD ["--help"]
