# Training image, a verb per job: docker build -t wafer_tf .     Without an engine or a registry: make images
#   docker run -v "$PWD/maps:/maps:ro" -v "$PWD/runs:/work/runs" wafer_tf fit --data /maps/LSWMD.pkl
#   docker run -v "$PWD/runs:/work/runs" wafer_tf convert --int8 runs/NAME
#   docker run --network host wafer_tf page            # the page answers this machine alone, at http://localhost:8501
# For GPUs: --build-arg TENSORFLOW="tensorflow[and-cuda]==2.21.0"; never tried on a real one. Then versions are pinned
# but no hashes, and those of CUDA's packages are TensorFlow's choice.
ARG BASE=python:3.11-slim
ARG RUNTIME=python:3.11-slim

FROM ${BASE} AS build
ARG TENSORFLOW=
ARG PIP_CERT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock requirements.txt constraints.txt ./
# What nothing here uses at run time: C++ headers, clang, text operators (keras-hub asks for them, its ResNet does not),
# and the libraries' own tests; 0.85 GB of 3.5. The folder's name matters: in one of another name Streamlit takes itself
# for a copy under development, and the page does not start.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ -z "$TENSORFLOW" ]; then set -- --require-hashes -r requirements.lock; \
    else set -- -r requirements.txt "$TENSORFLOW" -c constraints.txt; fi \
    && python3 -m pip install --break-system-packages --target /opt/site-packages "$@" \
    && cd /opt/site-packages && rm -r tensorflow/include tensorflow_text clang \
    && find . -type d -name tests -prune -exec rm -r {} +
COPY . .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip install --break-system-packages --target /opt/site-packages --no-deps .

FROM ${RUNTIME}
COPY --from=build /opt/site-packages /opt/site-packages
ENV PYTHONPATH=/opt/site-packages \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/work
RUN mkdir -p /work/runs && chown -R 10001:10001 /work
WORKDIR /work
USER 10001
VOLUME ["/work/runs"]
ENTRYPOINT ["python3", "-m", "wafer_tf"]
CMD ["--help"]
