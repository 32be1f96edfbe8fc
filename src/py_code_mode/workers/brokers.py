"""The brokers of a pool's workers, which share one policy and one resolver."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import Final

from py_code_mode.workers.broker import Broker
from py_code_mode.workers.egress import EgressPolicy
from py_code_mode.workers.process import Worker
from py_code_mode.workers.resolver import Lookup, Resolver
from py_code_mode.workers.zygote import ZygoteConfig

#: What workers need, loaded once.
_GUEST: Final = "py_code_mode_guest.stand_ins"
#: Connections that all sessions may wait for at once; one session waits for 32 at most.
_CONNECTING: Final = 256


class Brokers:
    """Gives each worker its broker. ``lookup`` takes the place of this host's own resolver."""

    def __init__(self, policy: EgressPolicy, lookup: Lookup | None = None) -> None:
        self._policy = policy
        self._resolver = Resolver(lookup)
        # Each takes a descriptor of the host's, which has others to serve.
        self._places = asyncio.Semaphore(_CONNECTING)

    def prepared(self, config: ZygoteConfig) -> ZygoteConfig:
        """Return the configuration of a zygote whose workers have brokers."""
        return replace(config, preload=(*config.preload, _GUEST))

    def attach(self, worker: Worker) -> socket.socket:
        """Give a worker that is about to be forked its broker; returns the worker's end."""
        # Messages, and not a stream: each descriptor comes with its own token.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker.broker = Broker(
            self._policy, self._resolver, ours, places=self._places, kill=worker.kill
        )
        return theirs
