# Stands in for redis:7-alpine where no registry can be reached: Debian's, under the same uid.
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends redis-server \
    && mkdir -p /data && chown 999:1000 /data
WORKDIR /data
VOLUME /data
