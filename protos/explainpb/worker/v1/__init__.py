"""Generated from ``protos/explainsvc`` by ``make protos``; not edited by hand."""
