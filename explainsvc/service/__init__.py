"""The gRPC server: one file a service, one table of errors."""
