"""Between protobuf messages and the library's values; knows the API's messages and no gRPC."""
