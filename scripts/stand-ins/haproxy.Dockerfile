# Stands in for haproxy:3.2-alpine where no registry can be reached: Debian's.
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends haproxy
