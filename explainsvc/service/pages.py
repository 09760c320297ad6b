"""Page tokens: where a page ends, as text that only the server reads.

A token names the last item of its page by what the list is ordered by, not by its number, so that items that come or go
meanwhile shift nothing. It holds for one list with one order and filter.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TypeAlias

from google.protobuf.message import Message

from explainsvc.errors import InvalidInput, Violation

PAGE, LARGEST_PAGE = 100, 1000
Place: TypeAlias = tuple[float | str, ...]


def page_size(asked: int) -> int:
    """How many items a page holds.

    Raises:
        InvalidInput: It is negative.
    """
    if asked < 0:
        raise InvalidInput("no page has this size", violations=[Violation("page_size", f"is {asked}, expected 0 or more")])
    return min(asked, LARGEST_PAGE) or PAGE


def to_token(request: Message, place: Place) -> str:
    """The token of a page that ends at this place of the list that was asked for."""
    return base64.urlsafe_b64encode(json.dumps([_list(request), *place]).encode()).decode().rstrip("=")


def from_token(request: Message, kinds: tuple[type, ...]) -> Place | None:
    """Where the page before ended; None for the first page. ``kinds`` are the types of a place.

    Raises:
        InvalidInput: It is no token of this list.
    """
    token: str = request.page_token  # type: ignore[attr-defined]  # every request for a page has it
    if not token:
        return None
    try:
        listed, *place = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        sound = listed == _list(request) and tuple(map(type, place)) == kinds and str(place).isascii()
    except (ValueError, TypeError, RecursionError):
        sound = False
    if not sound:
        expected = "the next_page_token of a page of the same list, order and filter"
        violation = Violation("page_token", f"{token[:80]!r} is none of this list")
        raise InvalidInput("the page token is not usable", violations=[violation], expected=expected)
    return tuple(place)


def _list(request: Message) -> str:
    """What is listed: the request without its page."""
    whole = type(request)()
    whole.CopyFrom(request)
    for field in ("page_size", "page_token"):
        whole.ClearField(field)
    name = type(request).__name__.encode()
    return hashlib.sha256(name + whole.SerializeToString(deterministic=True)).hexdigest()[:16]
