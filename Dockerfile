# Training image: docker build -t wafer_tf . && docker run -v "$PWD/maps:/maps" -v "$PWD/runs:/app/runs" wafer_tf --data /maps/LSWMD.pkl
FROM python:3.11-slim

RUN useradd --create-home --uid 10001 wafer \
    && mkdir -p /app/runs \
    && chown -R wafer:wafer /app
WORKDIR /app

COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -r requirements.txt -c constraints.txt

COPY --chown=wafer:wafer wafer_tf ./wafer_tf
COPY --chown=wafer:wafer training ./training

USER 10001
VOLUME ["/app/runs"]
ENTRYPOINT ["python", "-m", "training.fit"]
CMD ["--smoke"]
