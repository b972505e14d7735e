# oatools for servers without Python of their own.
#
#   docker build -t oatools .                                                                  # CPU, some 2 GB
#   docker build -t oatools:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/work" oatools oa-doctor
#
# Checked with hadolint; no image was built from it yet, since no registry was at hand.
FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# PyTorch first, in a layer of its own: it is most of the image, and changes least.
RUN python -m venv /opt/oatools && /opt/oatools/bin/pip install "torch>=2.6" torchvision --index-url "${TORCH_INDEX}"
COPY . /src
RUN /opt/oatools/bin/pip install /src

FROM python:3.12-slim
LABEL org.opencontainers.image.title="oatools" \
      org.opencontainers.image.description="Predicts from a baseline MRI which osteoarthritic knees will lose cartilage" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/oatools /opt/oatools
# Whoever runs it has no home here.
ENV PATH=/opt/oatools/bin:$PATH OATOOLS_CACHE=/tmp/oatools MPLCONFIGDIR=/tmp/matplotlib
RUN useradd --create-home --uid 1000 oatools
USER 1000
WORKDIR /work
CMD ["oa-doctor"]
