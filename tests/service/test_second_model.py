"""A check's second model over gRPC: its bytes as numbers, like any other parameter."""

from __future__ import annotations

import numpy as np

from explainsvc.checks.bam import NAME
from explainsvc.client import Client
from explainsvc.model import Model
from tests.service import models


def test_the_contrast_of_two_models_is_the_librarys(client: Client, digest: str, cnn: Model) -> None:
    """The other model's bytes and the masks arrive: rows and verdicts are those of ``Model.audit``, and no row is a refusal."""
    changed = cnn.with_weights({"v": models.weights(3, 4).T}).proto.SerializeToString()
    mask = np.zeros((6, 6), np.int64)
    mask[1:4, 2:5] = 1
    contrast = {"metric": "model_contrast", "masks": mask, "other": np.frombuffer(changed, np.uint8)}
    asked = {"methods": ["gradient"], "checks": [NAME], "parameters": {NAME: contrast}}
    there, here = client.audit(digest, models.image(6), **asked), cnn.audit(models.image(6), **asked)
    assert [row.to_json() for row in there.rows] == [row.to_json() for row in here.rows]
    assert there.verdicts == here.verdicts
    (row,) = [r for r in there.rows if (r.method, r.measure) == ("gradient", "model_contrast")]
    assert row.n == 6
    assert row.mean != 0
