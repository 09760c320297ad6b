"""Models, uploads and audits: content-addressed, owned, and never torn, whatever moment the process dies at.

::

    lock                            held by the one server that uses the store
    store.sqlite3                   what there is, whose it is, what became of it
    incoming/<random>/              files being written; emptied when a server starts
    partial/<random>/files/         uploads that have begun (``partials``)
    models/<digest>/files/          model.onnx and its external data, as uploaded (``objects``)
    audits/<id>.*                   what was asked, the journal, the report (``audits``)

A file is written in ``incoming`` or ``partial``, synced, and renamed into place, which is atomic; the database hears of it
after that, and is asked first when something is to go. So what it tells is there, and what it does not tell is removed at the
next start.
"""

from explainsvc.store.database import MIGRATIONS
from explainsvc.store.models import Place, Wanted, stored_files
from explainsvc.store.objects import LocalObjects, sha256_of
from explainsvc.store.partials import Partial
from explainsvc.store.records import (
    ABORTED,
    CANCELLED,
    FAILED,
    MODEL_FILE,
    RUNNING,
    SERVER,
    STOPPED,
    SUCCEEDED,
    Asked,
    Retention,
    StoredAudit,
    StoredFile,
    StoredModel,
    Viewer,
)
from explainsvc.store.store import Store, View, opened

__all__ = [
    "ABORTED",
    "CANCELLED",
    "FAILED",
    "MIGRATIONS",
    "MODEL_FILE",
    "RUNNING",
    "SERVER",
    "STOPPED",
    "SUCCEEDED",
    "Asked",
    "LocalObjects",
    "Partial",
    "Place",
    "Retention",
    "Store",
    "StoredAudit",
    "StoredFile",
    "StoredModel",
    "View",
    "Viewer",
    "Wanted",
    "opened",
    "sha256_of",
    "stored_files",
]
