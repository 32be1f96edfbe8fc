"""Services on every storage that processes can share."""

from redis_server import redis_prefix, shared_redis_url

__all__ = ["redis_prefix", "shared_redis_url"]
