"""One technology each: LanceDB, plain files for unfinished versions, memory, and the embed service over gRPC."""
