"""What a principal may use: a token bucket of cost units, and so many calls at the same time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from explainsvc.errors import QuotaExceeded
from explainsvc.service.config import Config
from explainsvc.service.principals import Principal
from explainsvc.service.security import Authenticator

MOST_ACCOUNTS = 10_000
"""Beyond this the accounts that were idle longest are forgotten: a stranger's names must not fill the memory."""
MOMENT = 1.0
"""Seconds after which one of several running calls may have ended; nobody knows better."""
SMALLER = "Ask for less (a smaller batch, fewer steps or samples), or ask whoever runs the server for more"


@dataclass(eq=False)
class Account:
    """Of one principal: units saved up at a time, and calls that run."""

    units: float
    at: float
    running: int = 0


@dataclass(eq=False)
class Quotas:
    """The accounts of all principals.

    Attributes:
        config: What holds for principals that have no numbers of their own.
        security: Has these numbers.
        refused: Hears why somebody was refused: "rate", "size" or "in_flight".
        clock: In seconds.
    """

    config: Config
    security: Authenticator
    refused: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def limits(self, principal: Principal) -> bool:
        """Whether the principal has a quota at all; where not, nothing need be priced."""
        return self._number(principal, "quota_rate") > 0

    def charge(self, principal: Principal, units: float) -> None:
        """Take the price of a request of a principal that has a quota.

        Raises:
            QuotaExceeded: There is not enough; says when there will be, unless there never will.
        """
        own = self.security.numbers(principal.name)
        rate, burst = (own.get(name, float(getattr(self.config, name))) for name in ("quota_rate", "quota_burst"))
        account, now = self._account(principal), self.clock()
        account.units = min(burst, account.units + rate * (now - account.at))
        account.at = now
        if units > burst:
            self.refused("size")
            what = f"the request costs {units:.0f} units, more than the caller can save up ({burst:g})"
            raise QuotaExceeded(what, to_do=SMALLER)
        if units > account.units:
            self.refused("rate")
            missing = units - account.units
            what = f"the request costs {units:.0f} units, the caller has {account.units:.0f} and gets {rate:g} a second"
            raise QuotaExceeded(what, retry_seconds=missing / rate, to_do="Send it again after the time that RetryInfo says")
        account.units -= units

    @contextmanager
    def running(self, principal: Principal) -> Iterator[None]:
        """While a call runs.

        Raises:
            QuotaExceeded: As many as may run do so already.
        """
        most = self._number(principal, "in_flight")
        account = self._account(principal)
        if most and account.running >= most:
            self.refused("in_flight")
            what = f"{account.running} calls of the caller run already"
            raise QuotaExceeded(what, retry_seconds=MOMENT, to_do="Wait until one of them has ended")
        account.running += 1
        try:
            yield
        finally:
            account.running -= 1

    def _number(self, principal: Principal, name: str) -> float:
        return self.security.numbers(principal.name).get(name, float(getattr(self.config, name)))

    def _account(self, principal: Principal) -> Account:
        """The principal's, new ones full."""
        account = self._accounts.get(principal.name)
        if account is None:
            account = self._accounts[principal.name] = Account(self._number(principal, "quota_burst"), self.clock())
            self._forget()
        self._accounts.move_to_end(principal.name)
        return account

    def _forget(self) -> None:
        idle = [name for name, account in self._accounts.items() if account.running == 0] if self._full() else []
        for name in idle[: len(self._accounts) - MOST_ACCOUNTS]:
            del self._accounts[name]

    def _full(self) -> bool:
        return len(self._accounts) > MOST_ACCOUNTS
