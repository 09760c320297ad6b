"""The process that workers are forked from; ``workers.forking`` starts it and speaks with it.

It has imported everything that a worker needs, which takes seconds, and has run none of it: no session, no thread, no gRPC. A
fork of such a process is a worker after some milliseconds. Each confines itself before it is given work (see the sandbox); this
process sees nothing of models or requests.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import traceback
from dataclasses import dataclass, field
from typing import Any, NoReturn

from explainsvc import worker
from explainsvc.allocator import freeze_what_is_loaded, keep_freed_memory
from explainsvc.sandbox.kernel import PR_SET_PDEATHSIG, prctl
from explainsvc.workers.warm import warm_up

LONGEST, DESCRIPTORS = 65536, 5
"""Of an order."""


@dataclass(eq=False)
class Family:
    """The channel to the server, and the children by the descriptors that stand for them."""

    channel: socket.socket
    children: dict[int, int] = field(default_factory=dict)
    poll: select.poll = field(default_factory=select.poll)

    def serve(self) -> None:
        """Fork whenever the server says so, and tell it of deaths, until it ends."""
        self.poll.register(self.channel, select.POLLIN)
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor != self.channel.fileno():
                    self._died(descriptor)
                elif not self._ordered():
                    return

    def _ordered(self) -> bool:
        """Whether the server is still there."""
        order, descriptors, _, _ = socket.recv_fds(self.channel, LONGEST, DESCRIPTORS)
        if order:
            try:
                self._bear(json.loads(order), descriptors)
            except OSError as error:  # no process or no memory left for one
                self._tell(failed=str(error))
            for descriptor in descriptors:
                os.close(descriptor)
        return bool(order)

    def _bear(self, order: dict[str, Any], descriptors: list[int]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(order, descriptors, parent)
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = pid
        self.poll.register(pidfd, select.POLLIN)
        socket.send_fds(self.channel, [json.dumps({"born": pid}).encode()], [pidfd])

    def _become_worker(self, order: dict[str, Any], descriptors: list[int], parent: int) -> NoReturn:
        """What belongs to the family is closed, for it can end or impersonate others."""
        try:
            self.channel.close()
            for pidfd in self.children:
                os.close(pidfd)
            os.environ.update(order["environment"])
            worker.work(worker.Pipes(*descriptors), worker.Settings(**order["settings"]), parent)
        except BaseException:  # noqa: BLE001  # the process ends here, in whatever way
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _died(self, pidfd: int) -> None:
        pid = self.children.pop(pidfd)
        self.poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._tell(died=pid, code=os.waitstatus_to_exitcode(status))

    def _tell(self, **facts: Any) -> None:
        self.channel.send(json.dumps(facts).encode())


def main(arguments: list[str]) -> None:
    """Bear workers until the server ends: ``CHANNEL``, a descriptor."""
    os.dup2(2, 1)  # whatever a library prints
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the server drains, and then ends this
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    keep_freed_memory()
    warm_up()
    freeze_what_is_loaded()
    channel = socket.socket(fileno=int(arguments[0]))
    channel.send(b"ready")
    Family(channel).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
