# syntax=docker/dockerfile:1
# The gateway for a machine that already runs a broker and, for Bluetooth, BlueZ:
#   docker build -t passerelle .
#   docker run -d --name passerelle -v passerelle:/var/lib/passerelle -v ./hub.toml:/etc/passerelle/hub.toml:ro \
#     -v /run/dbus/system_bus_socket:/run/dbus/system_bus_socket --group-add $(getent group bluetooth | cut -d: -f3) \
#     --security-opt apparmor=unconfined -p 127.0.0.1:8080:8080 passerelle
# The group and the AppArmor option are for hosts that want them; what is missing:  docker exec passerelle gateway doctor
# The same for compose: config/compose.yaml
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/runtime.txt requirements/
RUN python -m venv /opt/passerelle \
    && /opt/passerelle/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY requirements/build.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /src/dist . \
    && /opt/passerelle/bin/pip install --no-cache-dir --no-deps /src/dist/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/passerelle --create-home --shell /usr/sbin/nologin passerelle
COPY --from=build /opt/passerelle /opt/passerelle
COPY config/hub.toml /etc/passerelle/hub.toml
ENV PATH=/opt/passerelle/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME /var/lib/passerelle
EXPOSE 8080
HEALTHCHECK --interval=60s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["gateway"]
CMD ["run", "--config", "/etc/passerelle/hub.toml"]
