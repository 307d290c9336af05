# HiDiff's page and servers on the CPU, as a user without rights:
#     docker build -t hidiff .
#     docker run --rm -p 127.0.0.1:1527:1527 -v "$PWD:/data" hidiff --host 0.0.0.0 --token "$TOKEN"
# The kernels are compiled in a first stage, whose compiler stays out of the image.
FROM python:3.11-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
# The build of torch for processors, which brings no CUDA libraries.
RUN pip install --no-cache-dir -c /wheels/constraints.txt \
      --extra-index-url https://download.pytorch.org/whl/cpu \
      "$(echo /wheels/hidiff-*.whl)[app]" \
    && rm -rf /wheels
RUN useradd --create-home hidiff && install -d -o hidiff /data
USER hidiff
WORKDIR /data
EXPOSE 1527
ENTRYPOINT ["hidiff", "serve"]
