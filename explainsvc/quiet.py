"""onnxruntime sends nothing home.

From version 1.32 on its official builds report their use to Microsoft over HTTPS, facts about models included, from a thread of
their own with a database in the user's cache folder, unless this variable is set before onnxruntime is imported (its
``Privacy.md``). A process that forks must not have such a thread either.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
