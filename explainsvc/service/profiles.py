"""The profile that a model keeps: how pictures become its inputs, where a request does not say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from explainpb.v1 import tensor_pb2 as pb
from explainsvc.codec.models import to_profile
from explainsvc.codec.pictures import from_preprocessing
from explainsvc.store import StoredModel

IMAGES, REQUEST = "images", "request"


def to_kept(message: pb.Preprocessing) -> bytes:
    """What the store keeps of a profile; never nothing.

    Raises:
        InvalidInput: Values that no profile has.
    """
    from_preprocessing(message)
    whole = pb.Preprocessing()
    whole.CopyFrom(message)
    whole.resize = whole.resize or pb.RESIZE_MODE_COVER  # the default, written out: an empty message would be stored as none
    return whole.SerializeToString()


def fill(message: Any, model: Callable[[], StoredModel]) -> bool:
    """Give the pictures of a request without a profile that of their model, in place: they may be large; whether it was done.

    ``model`` is asked only where there are such pictures.
    """
    fields = message.DESCRIPTOR.fields_by_name
    if REQUEST in fields:
        return fill(message.request, model)
    if IMAGES not in fields:
        return False
    bare = [image for named in message.images for image in named.images if not image.HasField("preprocessing")]
    profile = to_profile(model().preprocessing) if bare else None
    if profile is not None:
        for image in bare:
            image.preprocessing.CopyFrom(profile)
    return profile is not None
