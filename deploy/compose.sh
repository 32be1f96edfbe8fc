#!/usr/bin/env bash
# Starts, ends and follows deploy/compose.yaml: compose.sh up|down|logs. Secrets that are missing are
# made once, at random, and stay: deploy/.env and deploy/secrets, which git ignores. `compose.sh
# secrets` makes them and starts nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

compose() {
    # A client without its daemon is no engine.
    if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
        docker compose --file compose.yaml "$@"
    elif command -v podman-compose >/dev/null; then
        podman-compose --file compose.yaml "$@"
    elif command -v docker-compose >/dev/null; then
        docker-compose --file compose.yaml "$@"
    else
        echo "this needs docker with compose, or podman with podman-compose (Debian's or from PyPI)" >&2
        exit 2
    fi
}

make_secrets() {
    umask 077
    mkdir -p secrets
    if [[ ! -e .env ]]; then
        {
            echo "CONTAINER_AUTH_TOKEN=$(openssl rand -hex 32)"
            echo "REDIS_PASSWORD=$(openssl rand -hex 32)"
        } >.env
        echo "made deploy/.env; clients need the CONTAINER_AUTH_TOKEN in it"
    fi
    make_users
    [[ -e secrets/redis.pem ]] || make_certificates
    # Only we may enter the folder; in the containers, users of their own read the files.
    chmod 644 secrets/*
}

# The file has the hash of the password. Nobody may look at or change the server itself.
make_users() {
    local password hash
    password=$(sed -n 's/^REDIS_PASSWORD=//p' .env)
    hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
    echo "user default on #$hash ~* &* +@all -@admin -flushall -flushdb -keys" \
        >secrets/users.acl
}

make_certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=py-code-mode compose CA" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout secrets/ca.key -out secrets/ca.pem 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=redis" \
        -keyout secrets/redis.key -out secrets/redis.csr 2>/dev/null
    openssl x509 -req -in secrets/redis.csr -CA secrets/ca.pem -CAkey secrets/ca.key \
        -CAcreateserial -days 825 -out secrets/redis.pem 2>/dev/null \
        -extfile <(printf 'subjectAltName=DNS:redis\nextendedKeyUsage=serverAuth\n')
    # Nothing is ever signed with it again.
    rm -f secrets/ca.key secrets/ca.srl secrets/redis.csr
    echo "made the certificates in deploy/secrets"
}

case "${1:-}" in
up)
    make_secrets
    compose up --detach
    ;;
secrets) make_secrets ;;
down) compose "$@" ;;
logs) compose logs --follow ;;
*)
    echo "usage: compose.sh up|down [--volumes]|logs|secrets" >&2
    exit 2
    ;;
esac
