# One image for the operator and its workers; the argument says which: `operator` or `worker`.
# The base needs Python 3.11 or newer with venv, and ca-certificates.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
COPY requirements/operator.txt /tmp/requirements.txt
# Two environments: the pip of the first fills the second, which so has none.
RUN python3 -m venv /opt/pip \
 && python3 -m venv --without-pip /opt/venv \
 && /opt/pip/bin/pip --python /opt/venv/bin/python3 install --no-cache-dir --no-compile \
      --no-deps --only-binary=:all: --require-hashes -r /tmp/requirements.txt
# Never loaded, and 100 MB: the descriptions of AWS's other services, the asyncio twin of the client.
RUN cd /opt/venv/lib/python3*/site-packages \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 -exec rm -r {} + \
 && rm -r kubernetes/aio \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash .
COPY operator /opt/multipartcopy
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/multipartcopy

FROM ${BASE_IMAGE}
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/multipartcopy /opt/multipartcopy
# kopf asks for the user's name, and a mere number has none.
ENV PATH=/opt/venv/bin:$PATH \
    USER=multipartcopy \
    PYTHONPATH=/opt/multipartcopy \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python3", "-m", "multipartcopy"]
