# Two images, `make images`: `core` for control API, planner and slot agent; `edge`, small, for gateways and node agents.
# Each is Debian's Python, one virtual environment pinned by hashes, and a user without rights; no pip, no compiler.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /opt/fairlead
# What is the same in both images comes first, so that it is built once.
COPY requirements/edge.txt requirements/core.txt requirements/

FROM build AS build-edge
RUN pip --python /opt/fairlead/bin/python install --require-hashes -r requirements/edge.txt
COPY . .
RUN deploy/image/install

FROM build AS build-core
RUN pip --python /opt/fairlead/bin/python install --require-hashes -r requirements/core.txt
COPY . .
RUN deploy/image/install

FROM ${PYTHON} AS base
RUN pip --disable-pip-version-check uninstall --yes --quiet --root-user-action ignore wheel setuptools pip \
    && rm -rf /usr/local/lib/python3.11/ensurepip \
    && groupadd --gid 10001 fairlead \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/fairlead --shell /usr/sbin/nologin fairlead \
    && install -d -o 10001 -g 10001 /var/lib/fairlead /run/fairlead/admin /run/fairlead/edge /etc/fairlead
COPY --chmod=755 deploy/image/healthy /usr/local/bin/healthy
ENV PATH=/opt/fairlead/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FAIRLEAD_STATE_DIR=/var/lib/fairlead
# ./fairlead.yaml is read where it is mounted.
WORKDIR /etc/fairlead
USER 10001:10001
ENTRYPOINT ["fairlead"]
CMD ["--help"]

FROM base AS edge
COPY --from=build-edge /opt/fairlead /opt/fairlead

# The last target is what a build without `--target` gives.
FROM base AS core
# The twin's core is compiled once, at the first judgement, and kept beside the state.
ENV NUMBA_CACHE_DIR=/var/lib/fairlead/compiled
COPY --from=build-core /opt/fairlead /opt/fairlead
